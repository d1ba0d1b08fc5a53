"""Pairwise interactions as the lower triangle of a map, diverging around zero."""

from __future__ import annotations

import math

from markupsafe import Markup

from layershap.report.data import Report
from layershap.report.figures.canvas import Canvas, Figure, tick_labels
from layershap.report.wording import signed

__all__ = ["interaction_figure"]


def interaction_figure(report: Report, wide: int, narrow: int) -> Figure | None:
    """Returns the heat map; None where interactions were not computed or there are no pairs."""
    if report.interactions is None or len(report.players) < 2:
        return None
    noun, raw = report.player_noun, report.value_of == "loss"
    return Figure(
        "interactions",
        "Pairwise Shapley interactions",
        _map(report, wide),
        _map(report, narrow),
        (),
        f"Orange pairs stand in for each other: removing both {noun}s costs more than the sum of"
        " removing each. Blue pairs work together: once one is gone the other is worth less, so"
        f" removing both costs less than the sum.{_empty(report) if raw else ''}",
    )


def _empty(report: Report) -> str:
    return (
        f" The model without any {report.player_noun} is left to the surrogate here: its own"
        " utility would put the same large number into every pair."
    )


def _map(report: Report, width: int) -> Markup:
    assert report.interactions is not None
    n = len(report.players)
    names = [name if len(name) <= 10 else f"{name[:9]}…" for name in report.players]
    left = 12 + 7.0 * max(len(name) for name in names)
    cell = (width - left - 2) / (n - 1)
    cell = min(cell, 46.0)
    top = 6.0
    size = cell * (n - 1)
    rows = max(size, 92.0)
    canvas = Canvas(width, top + rows + 14 + 7.0 * max(len(name) for name in names), "Interactions")
    values = [report.interactions[i][j] for i in range(n) for j in range(i)]
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
    gap = 1.0 if cell > 8 else 0.0
    digits = min(6, max(3 if report.value_of == "loss" else 1, 2 - math.floor(math.log10(largest))))
    for i in range(1, n):
        for j in range(i):
            value = report.interactions[i][j]
            cls = "absent" if not math.isfinite(value) else "pos" if value >= 0 else "neg"
            canvas.add(
                "rect",
                f"{report.players[j]} and {report.players[i]}: {signed(value, digits)}",
                cls=f"{cls} cell" if gap else cls,
                x=left + j * cell, y=top + (i - 1) * cell, width=cell - gap, height=cell - gap,
                fill_opacity=round(abs(value) / largest, 2) if math.isfinite(value) else 1,
            )  # fmt: skip
    every = max(1, math.ceil(13 / cell))
    for index, name in enumerate(names):
        middle = cell * 0.5 - gap / 2
        if index and (n - 1 - index) % every == 0:
            y = top + (index - 1) * cell + middle
            canvas.text(name, left - 8, y + 4, cls="tick", text_anchor="end")
        if index < n - 1 and index % every == 0:
            _below(canvas, name, left + index * cell + middle, top + size + 6, cell)
    _scale(canvas, left + size, top, largest, report.value_unit, min(190.0, 0.46 * size))
    return canvas.markup()


def _below(canvas: Canvas, name: str, x: float, y: float, cell: float) -> None:
    if 7.0 * len(name) < cell:
        canvas.text(name, x, y + 10, cls="tick", text_anchor="middle")
        return
    place = f"rotate(-90 {x:.1f} {y:.1f})"
    canvas.text(name, x, y + 4, cls="tick", text_anchor="end", transform=place)


def _scale(
    canvas: Canvas, right: float, top: float, largest: float, unit: str, width: float
) -> None:
    """Draws the colour scale into the empty upper triangle."""
    if width < 90:
        return
    steps = 21
    step = width / steps
    left = right - width - 4
    for index in range(steps):
        level = 2 * index / (steps - 1) - 1
        canvas.add(
            "rect",
            cls="pos" if level >= 0 else "neg",
            x=left + index * step, y=top + 18, width=step + 0.2, height=9,
            fill_opacity=round(abs(level), 2),
        )  # fmt: skip
    canvas.text(unit, left + width, top + 9, cls="tick", text_anchor="end")
    ends = tick_labels([_rounded(-largest), 0.0, _rounded(largest)])
    anchors = ("start", "middle", "end")
    for index, (label, anchor) in enumerate(zip(ends, anchors, strict=True)):
        canvas.text(label, left + index * width / 2, top + 42, cls="tick", text_anchor=anchor)


def _rounded(number: float) -> float:
    digits = 1 - math.floor(math.log10(abs(number)))
    return round(number, digits)
