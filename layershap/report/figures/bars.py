"""Bars of values, one row a player in depth order, with 95 % intervals."""

from __future__ import annotations

import math

from markupsafe import Markup

from layershap.report.data import PlayerValues, Report
from layershap.report.figures.canvas import Canvas, Figure, Frame, Key, swatch, tick_labels, ticks
from layershap.report.summary import headline
from layershap.report.wording import fixed, interval

__all__ = ["value_figures"]


def value_figures(report: Report, wide: int, narrow: int) -> list[Figure]:
    """Returns one figure for each panel of values."""
    chosen = headline(report)
    marked = frozenset(chosen.removed if chosen else ())
    legend = (
        Key(swatch("fill s0"), "kept"),
        Key(swatch("fill s1"), f"removed in the set of {len(marked)} put forward"),
    )
    return [
        Figure(
            f"values-{index}",
            panel.title,
            _bars(report, panel, marked, wide),
            _bars(report, panel, marked, narrow),
            (legend if marked else ()) + (TEXT_LEGEND if panel.with_text else ()),
            panel.note,
        )
        for index, panel in enumerate(report.values)
    ]


def _whisker_swatch(cls: str) -> Markup:
    canvas = Canvas(14, 14, "")
    canvas.add("line", cls=cls, x1=0, x2=14, y1=7, y2=7)
    return canvas.markup()


TEXT_LEGEND = (
    Key(_whisker_swatch("whisker"), "95 %, for the sets measured"),
    Key(_whisker_swatch("whisker text"), "and for the text"),
)


def _bars(report: Report, panel: PlayerValues, marked: frozenset[int], width: int):
    n = len(report.players)
    row = 24.0 if n <= 16 else 18.0 if n <= 40 else 13.0
    small = "tick small" if n > 40 else "tick"
    left = 14 + 7.0 * min(14, max(len(name) for name in report.players))
    right, top, bottom = 62.0, 8.0, 46.0
    ends = [0.0]
    for value in (*panel.values, *panel.with_text):
        ends += [x for x in (value.value, value.lower, value.upper) if math.isfinite(x)]
    low, high = min(ends), max(ends)
    if high <= low:
        high = low + 1.0
    pad = 0.02 * (high - low)
    low, high = low - (pad if low < 0 else 0), high + (pad if high > 0 else 0)
    height = n * row
    frame = Frame(left, top, width - left - right, height, (low, high), (0, 1))
    canvas = Canvas(width, height + top + bottom, f"{panel.title} of each {report.player_noun}")
    marks = ticks(low, high, 5 if width > 400 else 3)
    for value, label in zip(marks, tick_labels(marks), strict=True):
        x = frame.x(value)
        cls = "axis" if value == 0 else "grid"
        canvas.add("line", cls=cls, x1=x, x2=x, y1=top, y2=top + height)
        canvas.text(label, x, top + height + 17, cls="tick", text_anchor="middle")
    canvas.text(
        report.value_unit, left + frame.width / 2, top + height + 37, cls="name",
        text_anchor="middle",
    )  # fmt: skip
    digits = _digits(high - low, 3 if report.value_of == "loss" else 1)
    for index, (name, value) in enumerate(zip(report.players, panel.values, strict=True)):
        y = top + row * (index + 0.5)
        canvas.text(_cut(name), left - 10, y + 4, cls=small, text_anchor="end")
        canvas.text(fixed(value.value, digits), width, y + 4, cls=small, text_anchor="end")
        if not math.isfinite(value.value):
            continue
        start, end = sorted((frame.x(0.0), frame.x(value.value)))
        wider = panel.with_text[index] if panel.with_text else value
        ends_text, wider_text = interval(value, digits), interval(wider, digits)
        ends_text += f"; {wider_text} with other text" if wider_text != ends_text else ""
        canvas.add(
            "rect",
            f"{name}: {fixed(value.value, digits)}{f' ({ends_text})' if ends_text else ''}",
            cls="fill s1" if index in marked else "fill s0",
            x=start, y=y - 0.32 * row, width=max(0.5, end - start), height=0.64 * row, rx=1.5,
        )  # fmt: skip
        if wider.has_interval and wider is not value:
            a, b = frame.x(wider.lower), frame.x(wider.upper)
            canvas.add("line", cls="whisker text", x1=a, x2=b, y1=y, y2=y)
        if value.has_interval:
            a, b = frame.x(value.lower), frame.x(value.upper)
            canvas.add("line", cls="whisker", x1=a, x2=b, y1=y, y2=y)
            for x in (a, b):
                canvas.add("line", cls="whisker", x1=x, x2=x, y1=y - 3, y2=y + 3)
    return canvas.markup()


def _cut(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _digits(span: float, least: int) -> int:
    return min(6, max(least, 2 - math.floor(math.log10(span))))
