"""The explorer as one HTML file that carries all it needs and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from layershap.explorer.bundle import bundle_folder
from layershap.templates import templates

__all__ = ["render_explorer"]

FOLDER = Path(__file__).parent


def render_explorer(data: Mapping[str, Any]) -> str:
    """Returns the page.

    Its content security policy lets it run its own scripts alone, and load nothing.

    Args:
        data: of `explorer_data`.
    """
    # All three are files of this package, not input.
    chart, script, style = _assets()
    content = json.dumps(data, separators=(",", ":"), allow_nan=False)
    # Names of models and players are input: none may end the element that holds the data.
    content = content.replace("<", "\\u003c")
    return (
        templates(FOLDER)
        .get_template("explorer.html.j2")
        .render(
            title=data["model"],
            noun=data["noun"],
            measures=data["measures"],
            data=Markup(content),
            chart=Markup(chart),
            script=Markup(script),
            style=Markup(style),
            digests=[_digest(chart), _digest(script)],
            style_digest=_digest(style),
        )
    )


@cache
def _assets() -> tuple[str, str, str]:
    vendor = FOLDER / "vendor"
    chart = (vendor / "uPlot.iife.min.js").read_text(encoding="utf-8")
    script = bundle_folder(FOLDER / "js", "main")
    style = (vendor / "uPlot.min.css").read_text(encoding="utf-8")
    return chart, script, style + (FOLDER / "explorer.css").read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
