"""A report as people read it: values that are shares in percent."""

from __future__ import annotations

from dataclasses import replace

from layershap.report.data import PlayerValues, Report
from layershap.results.estimate import Estimate

__all__ = ["in_percent", "value_digits"]

PERCENT = "% of the whole model"


def in_percent(report: Report) -> Report:
    """Returns the report with values, interactions and errors in percent where they are shares.

    Args:
        report: with shares.
    """
    if report.value_of == "loss" or report.value_unit == PERCENT:
        return report
    matrix = report.interactions
    return replace(
        report,
        value_unit=PERCENT,
        values=tuple(map(_panel, report.values)),
        interactions=matrix and tuple(tuple(100 * x for x in row) for row in matrix),
        errors=tuple(
            replace(p, largest=100 * p.largest, root_mean_square=100 * p.root_mean_square)
            for p in report.errors
        ),
    )


def value_digits(report: Report) -> int:
    """Returns how many digits after the point a value is shown with."""
    return 3 if report.value_of == "loss" else 2


def _panel(panel: PlayerValues) -> PlayerValues:
    return replace(
        panel,
        values=tuple(map(_percent, panel.values)),
        with_text=tuple(map(_percent, panel.with_text)),
    )


def _percent(value: Estimate) -> Estimate:
    return Estimate(100 * value.value, 100 * value.lower, 100 * value.upper)
