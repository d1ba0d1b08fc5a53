"""The report: everything a person wants to look at, in one self-contained HTML file."""

from __future__ import annotations

from layershap.report.data import (
    Dense,
    Estimate,
    FitScore,
    PlayerValues,
    Provenance,
    Recommendation,
    Report,
    Rival,
    SurrogateFit,
    TextFacts,
)
from layershap.report.page import render

__all__ = [
    "Dense",
    "Estimate",
    "FitScore",
    "PlayerValues",
    "Provenance",
    "Recommendation",
    "Report",
    "Rival",
    "SurrogateFit",
    "TextFacts",
    "render",
]
