"""Formulas as MathML, made when the pages are built: browsers draw it without any script.

The converter is docutils' own. What it cannot convert is a warning, so that the build fails.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

__all__ = ["setup"]

logger = logging.getLogger(__name__)


def visit_math(translator: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    translator.body.append(f'<span class="math">{_converted(node, block=False)}</span>')
    raise nodes.SkipNode


def visit_displayed(translator: Any, node: nodes.math_block) -> None:
    """Write a formula of its own."""
    formula = _converted(node, block=True)
    translator.body.append(f'<div class="math displayed">{formula}</div>\n')
    raise nodes.SkipNode


def _converted(node: nodes.Element, block: bool) -> str:
    formula = node.astext()
    try:
        # Few fonts have the operator of its own for differences of sets.
        return tex2mathml(formula, as_block=block).replace("\u29f5", "\u2216")
    except MathError as error:
        logger.warning("formula %r: %s", formula[:60], error, location=node)
        return f"<code>{nodes.unescape(formula)}</code>"


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the renderer as ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displayed, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
