"""How the errors of the values fell with the number of measured coalitions, on two log scales."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from layershap.report.data import Report
from layershap.report.figures.canvas import Canvas, Figure, Frame, Key, marker, swatch
from layershap.report.wording import count
from layershap.results.values import ErrorPoint

__all__ = ["error_figure"]

SERIES = ("largest of all", "root mean square")
STEPS = (1, 2, 5)


def error_figure(report: Report, wide: int, narrow: int) -> Figure | None:
    """Returns the errors of the Shapley values against evaluations; None with less than two."""
    points = [
        point
        for point in report.errors
        if min(point.evaluations, point.largest, point.root_mean_square) > 0
    ]
    if len({point.evaluations for point in points}) < 2:
        return None
    more = (
        f" A budget of about {count(report.halving)} would halve the largest one."
        if report.halving is not None
        else ""
    )
    return Figure(
        "errors",
        "Standard errors of the Shapley values",
        _drawn(report, points, wide),
        _drawn(report, points, narrow),
        tuple(Key(swatch(style), f"{name} {report.player_noun}s" if not style else name)
              for style, name in enumerate(SERIES)),
        f"As they stood after so many measured combinations of {report.player_noun}s.{more}",
    )  # fmt: skip


def _drawn(report: Report, points: Sequence[ErrorPoint], width: int) -> Markup:
    errors = [error for p in points for error in (p.largest, p.root_mean_square)]
    x_range = _padded([p.evaluations for p in points])
    y_range = _padded(errors)
    height, top, left, right = 220.0, 34.0, 52.0, 16.0
    frame = Frame(left, top, width - left - right, height, x_range, y_range)
    title = "Standard errors against measured combinations"
    canvas = Canvas(width, height + top + 46, title)
    bottom, end = top + height, left + frame.width
    for value in log_ticks(*y_range):
        y = frame.y(math.log10(value))
        canvas.add("line", cls="grid", x1=left, x2=end, y1=y, y2=y)
        canvas.text(f"{value:g}", left - 8, y + 4, cls="tick", text_anchor="end")
    canvas.add("line", cls="axis", x1=left, x2=end, y1=bottom, y2=bottom)
    last = -math.inf
    for point in points:
        x = frame.x(math.log10(point.evaluations))
        canvas.add("line", cls="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4)
        label = count(point.evaluations)
        if x - last > 8.0 * len(label):
            canvas.text(label, x, bottom + 18, cls="tick", text_anchor="middle")
            last = x
    middle = left + frame.width / 2
    canvas.text("combinations measured", middle, bottom + 38, cls="name", text_anchor="middle")
    canvas.text(f"standard error, {report.value_unit}", 0, top - 14, cls="name")
    for style, name in enumerate(SERIES):
        places = []
        for point in points:
            error = point.root_mean_square if style else point.largest
            x, y = frame.x(math.log10(point.evaluations)), frame.y(math.log10(error))
            places.append((x, y, f"{count(point.evaluations)} measured, {name}: {error:.3g}"))
        path = "".join(
            f"{'L' if at else 'M'}{x:.1f} {y:.1f}" for at, (x, y, _) in enumerate(places)
        )
        canvas.add("path", cls=f"line s{style}{' rival' if style else ''}", d=path)
        for x, y, text in places:
            marker(canvas, style, x, y, text)
    return canvas.markup()


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Returns round numbers between two powers of ten, at most about ``most`` of them.

    Args:
        low: decimal logarithm of the lower end.
        high: of the upper end.
        most: how many fit.
    """
    decades = range(math.floor(low), math.ceil(high) + 1)
    found: list[float] = []
    for steps in (STEPS, (1, 3), (1,)):
        found = [step * 10.0**decade for decade in decades for step in steps]
        found = [value for value in found if low <= math.log10(value) <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def _padded(values: Sequence[float]) -> tuple[float, float]:
    logs = [math.log10(value) for value in values]
    pad = max(0.05 * (max(logs) - min(logs)), 0.02)
    return min(logs) - pad, max(logs) + pad
