"""What removal costs against what it saves: all methods, the sets that nothing beats emphasised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from layershap.report.data import Report
from layershap.report.figures.canvas import (
    Canvas,
    Figure,
    Frame,
    Key,
    axes,
    look,
    marker,
    swatch,
    ticks,
)
from layershap.report.wording import fixed, interval, share, signed
from layershap.results.estimate import Estimate
from layershap.results.frontier import OWN, WHOLE, Axis, FrontierPoint

__all__ = ["frontier_figures", "frontier_note"]

MOST_LINES = 4
"""Rivals up to which the sets of each are joined by a line; more lines hide each other."""


@dataclass(frozen=True)
class _View:
    """One axis: where a point lies on it, and how it is named."""

    axis: Axis
    name: str
    title: str
    label: str
    place: Callable[[FrontierPoint], Estimate | None]
    whole_ticks: bool = False


def frontier_figures(report: Report, wide: int, narrow: int) -> list[Figure]:
    """Returns the cost by size, by parameters and, where they were measured, by speeds."""
    figures = []
    methods = list(dict.fromkeys(p.method for p in report.frontier if p.method != WHOLE))
    methods.sort(key=lambda method: method != OWN)
    for view in _views(report):
        points = [p for p in report.frontier if p.method != WHOLE and view.place(p) is not None]
        if not points:
            continue
        top, hidden = _upper_edge(points)
        caption = "Sets that cost more than the plot shows lie above it." if hidden else ""
        figures.append(
            Figure(
                view.name,
                view.title,
                _drawn(report, view, points, methods, top, wide),
                _drawn(report, view, points, methods, top, narrow),
                tuple(Key(swatch(style), name) for style, name in enumerate(methods))
                if len(methods) > 1
                else (),
                caption,
            )
        )
    return figures


def frontier_note(report: Report) -> str:
    """Returns how to read the figures."""
    note = "Lower and further right is better; ringed sets are beaten by no other"
    if any(point.loss.has_interval for point in report.frontier):
        note += "; bars are 95 % intervals, of the paired difference and of the speed"
    return f"{note}."


def _views(report: Report) -> list[_View]:
    noun = report.player_noun
    return [
        _View(
            "count",
            "frontier-size",
            f"Cost against {noun}s removed",
            f"{noun}s removed",
            lambda point: Estimate(float(point.count)),
            whole_ticks=True,
        ),
        _View(
            "parameters",
            "frontier-parameters",
            "Cost against parameters saved",
            "parameters saved, %",
            lambda point: Estimate(100.0 * (1.0 - point.parameter_share)),
        ),
        _View(
            "decode",
            "frontier-speed",
            "Cost against decoding speed",
            "decoding speed, ratio to the whole model",
            lambda point: point.decode,
        ),
        _View(
            "prefill",
            "frontier-prefill",
            "Cost against prefill speed",
            "prefill speed, ratio to the whole model",
            lambda point: point.prefill,
        ),
    ]


def _upper_edge(points: Sequence[FrontierPoint]) -> tuple[float, bool]:
    """Returns the top of the plot: one ruinous heuristic must not flatten the rest."""
    everything = max(point.loss.high for point in points)
    kept = [p.loss.high for p in points if p.method == OWN or p.on_frontier]
    own = max(kept, default=everything)
    top = min(everything, 1.5 * own) if own > 0 else everything
    return (top if top > 0 else 0.1), everything > top > 0


def _drawn(
    report: Report,
    view: _View,
    points: Sequence[FrontierPoint],
    methods: Sequence[str],
    top: float,
    width: int,
) -> Markup:
    origin = 1.0 if view.axis in ("decode", "prefill") else 0.0
    places = [place for point in points if (place := view.place(point)) is not None]
    xs = [origin, *(place.value for place in places)]
    pad = 0.06 * (max(xs) - min(xs)) or 0.1
    low = min(0.0, *(point.loss.low for point in points))
    y_range = (low * 1.1 if low < 0 else 0.0, top * 1.06)
    height = 250.0 if width < 400 else 290.0
    frame = Frame(44.0, 34.0, width - 44 - 46, height, (min(xs) - pad, max(xs) + pad), y_range)
    canvas = Canvas(width, height + 34 + 46, view.title)
    many = 10 if width > 400 and view.whole_ticks else 6
    x_ticks = ticks(*frame.x_range, many, whole=view.whole_ticks)
    y_ticks = ticks(*y_range, 6)
    axes(canvas, frame, x_ticks, y_ticks, view.label, "held-out cost, nats per token")
    _perplexities(canvas, report, frame, y_ticks)
    # A nested drawing clips what leaves the plot without needing identifiers.
    canvas.open("svg", x=0, y=frame.top - 6, width=width, height=height + 12,
                viewBox=f"0 {frame.top - 6:.0f} {width} {height + 12:.0f}")  # fmt: skip
    ringed: dict[tuple[tuple[int, ...], bool], str] = {}
    for point in sorted(points, key=lambda point: methods.index(point.method)):
        if view.axis in point.on_frontier:
            ringed.setdefault((point.removed, point.merged), point.method)
    for style, method in reversed(list(enumerate(methods))):
        spread = 3.0 * min(1.0, 6.0 / len(methods))
        shift = spread * (style - (len(methods) - 1) / 2) if view.axis == "count" else 0.0
        own = [point for point in points if point.method == method]
        start = origin if style == 0 or len(methods) <= MOST_LINES + 1 else None
        _series(canvas, frame, view, own, style, shift, start, width > 400)
        for point in own:
            place = view.place(point)
            if place is not None and ringed.get((point.removed, point.merged)) == method:
                x, y = frame.x(place.value) + shift, frame.y(point.loss.value)
                canvas.add("circle", cls="ring", cx=x, cy=y, r=8)
    canvas.close("svg")
    marker(canvas, 0, frame.x(origin), frame.y(0.0), WHOLE, 3.0)
    return canvas.markup()


def _series(
    canvas: Canvas,
    frame: Frame,
    view: _View,
    points: Sequence[FrontierPoint],
    style: int,
    shift: float,
    origin: float | None,
    tooltips: bool,
) -> None:
    """One method's sets; joined from the whole model on where an origin is given."""
    colour = f"s{look(style)[0]}{' rival' if style else ''}"
    where = [
        (point, place, frame.x(place.value) + shift, frame.y(point.loss.value))
        for point in points
        if (place := view.place(point)) is not None
    ]
    if origin is not None:
        ends = [(frame.x(origin), frame.y(0.0)), *((x, y) for _, _, x, y in where)]
        path = "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(ends))
        canvas.add("path", cls=f"line {colour}", d=path)
    for point, place, x, y in where:
        best = view.axis in point.on_frontier
        if best or style == 0:
            bars = [(x, x, frame.y(point.loss.low), frame.y(point.loss.high))]
            bars += [(*(_inside(frame, end) for end in (place.low, place.high)), y, y)]
            for (x1, x2, y1, y2), held in zip(bars, (point.loss, place), strict=True):
                if held.has_interval:
                    canvas.add("line", cls=f"bar {colour}", x1=x1, x2=x2, y1=y1, y2=y2)
        text = _tooltip(point) if tooltips else ""
        marker(canvas, style, x, y, text, 5.0 if style == 0 else 4.0, faint=not best and style > 0)


def _inside(frame: Frame, value: float) -> float:
    """The pixel of a value, at an edge where it lies beside the plot."""
    return min(max(frame.x(value), frame.left), frame.left + frame.width)


def _tooltip(point: FrontierPoint) -> str:
    ends = interval(point.loss)
    parts = [
        f"{point.method}, without {point.names}: {signed(point.loss.value)}"
        + (f" ({ends})" if ends else "")
        + " nats per token",
        f"{share(1 - point.parameter_share)} of the parameters saved",
    ]
    if point.decode is not None:
        parts.append(f"decoding {fixed(point.decode.value)}×")
    if point.merged:
        parts.append("layers merged")
    return ", ".join(parts)


def _perplexities(canvas: Canvas, report: Report, frame: Frame, y_ticks: Sequence[float]) -> None:
    """Labels the right edge with the perplexity that each cost means."""
    right = frame.left + frame.width
    whole = math.nan if report.dense is None else report.dense.nll
    canvas.text("perplexity", right + 46, frame.top - 14, cls="name", text_anchor="end")
    for value in y_ticks:
        perplexity = math.exp(min(700.0, whole + value))
        label = fixed(perplexity, 1) if perplexity < 1000 else f"{perplexity:.1e}"
        canvas.text(label, right + 46, frame.y(value) + 4, cls="tick", text_anchor="end")
