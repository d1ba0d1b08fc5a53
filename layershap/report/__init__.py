"""The report: everything a person wants to look at, in one self-contained HTML file."""

from __future__ import annotations

from layershap.report.data import (
    Dense,
    ErrorPoint,
    Estimate,
    FitScore,
    PlayerValues,
    Provenance,
    Ranking,
    Recommendation,
    Report,
    Rival,
    SurrogateFit,
    TextFacts,
)
from layershap.report.page import render

__all__ = [
    "Dense",
    "ErrorPoint",
    "Estimate",
    "FitScore",
    "PlayerValues",
    "Provenance",
    "Ranking",
    "Recommendation",
    "Report",
    "Rival",
    "SurrogateFit",
    "TextFacts",
    "render",
]
