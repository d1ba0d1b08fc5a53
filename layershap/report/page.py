"""The page: one HTML file that carries everything it shows and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from markupsafe import Markup

from layershap.report.data import Report
from layershap.report.figures.bars import value_figures
from layershap.report.figures.frontier import frontier_figures, frontier_note
from layershap.report.figures.heatmap import interaction_figure
from layershap.report.figures.history import error_figure
from layershap.report.figures.scatter import fit_figure
from layershap.report.quality import frontier_table, rival_table, task_table, text_table
from layershap.report.shown import in_percent
from layershap.report.summary import (
    finding_sentence,
    question_sentence,
    ranking,
    recommended,
    warnings,
    why,
)
from layershap.report.tables import (
    facts,
    fit_by_excess,
    fit_overall,
    fit_strata,
    key_figures,
    pair_table,
    recommendation_table,
)
from layershap.templates import templates

__all__ = ["render"]

FOLDER = Path(__file__).parent
WIDE = 520
"""Width of a figure on a page, in CSS pixels."""
NARROW = 336
"""Width of a figure on a phone, so that its text needs no shrinking there."""


def render(report: Report) -> str:
    """Returns the report as one self-contained HTML page.

    The page loads nothing from anywhere, which its content security policy also forbids.

    Args:
        report: what to show.
    """
    report = in_percent(report)
    style, script = _asset("style.css"), _asset("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        templates(FOLDER)
        .get_template("template.html.j2")
        .render(
            report=report,
            # Both are files of this package, not input.
            style=Markup(style),
            script=Markup(script),
            script_digest=digest,
            sentences=(
                ("Asked", question_sentence(report)),
                ("Found", finding_sentence(report)),
                ("Recommended", recommended(report)),
                *((("Why these", why(report)),) if why(report) else ()),
            ),
            key_figures=key_figures(report),
            concerns=warnings(report),
            recommendations=recommendation_table(report),
            rivals=rival_table(report),
            alike=any(item.alike is not None for item in report.recommendations),
            texts=text_table(report),
            tasks=task_table(report),
            best=frontier_table(report),
            frontiers=frontier_figures(report, WIDE, NARROW),
            frontier_note=frontier_note(report),
            values=value_figures(report, WIDE, NARROW),
            errors=error_figure(report, WIDE, NARROW),
            ranking=ranking(report),
            interactions=interaction_figure(report, WIDE, NARROW),
            pairs=pair_table(report),
            fit=fit_figure(report, WIDE, NARROW),
            fit_overall=fit_overall(report),
            fit_by_excess=fit_by_excess(report),
            fit_strata=fit_strata(report),
            facts=facts(report),
        )
    )


@cache
def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
