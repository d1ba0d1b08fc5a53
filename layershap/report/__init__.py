"""The report: everything a person wants to look at, in one self-contained HTML file."""

from __future__ import annotations

from layershap.report.data import (
    Cost,
    Dense,
    FitScore,
    Pending,
    PlayerValues,
    Provenance,
    Ranking,
    Report,
    SurrogateFit,
    TextFacts,
)
from layershap.report.markdown import render_markdown
from layershap.report.page import render
from layershap.report.plain import render_json, to_plain
from layershap.report.sets import BaselineSet, PairedDifference, Recommendation, TaskScore, TextCost
from layershap.results.estimate import Estimate

__all__ = [
    "BaselineSet",
    "Cost",
    "Dense",
    "Estimate",
    "FitScore",
    "PairedDifference",
    "Pending",
    "PlayerValues",
    "Provenance",
    "Ranking",
    "Recommendation",
    "Report",
    "SurrogateFit",
    "TaskScore",
    "TextCost",
    "TextFacts",
    "render",
    "render_json",
    "render_markdown",
    "to_plain",
]
