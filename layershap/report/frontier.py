"""What removal costs: against the number removed, and against measured decoding speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from layershap.report.canvas import Canvas, Figure, Frame, Key, axes, marker, swatch, ticks
from layershap.report.data import Estimate, Report
from layershap.report.wording import fixed, interval, joined, signed

__all__ = ["frontier_figures"]

OWN = "layershap"


@dataclass(frozen=True)
class Point:
    """One verified set on a frontier."""

    x: Estimate
    y: Estimate
    text: str


@dataclass(frozen=True)
class Series:
    """The sets of one method, in order of size."""

    name: str
    style: int
    points: tuple[Point, ...]


def frontier_figures(report: Report, wide: int, narrow: int) -> list[Figure]:
    """Returns the frontier by size and, where speeds were measured, by decoding speed."""
    if not report.recommendations:
        return []
    figures = []
    noun = report.player_noun
    for by_speed in (False, True):
        lines = _series(report, by_speed)
        if not lines:
            continue
        top, hidden = _upper_edge(lines)
        legend = tuple(Key(swatch(line.style), line.name) for line in lines)
        caption = "Lower and further right is better" if by_speed else "Lower is better"
        if any(point.y.has_interval for line in lines for point in line.points):
            caption += "; vertical bars are 95 % intervals of the paired difference"
        caption += "."
        if hidden:
            caption += " Lines that leave the plot above cost more than it shows."
        figures.append(
            Figure(
                "frontier-speed" if by_speed else "frontier-size",
                "Cost against decoding speed" if by_speed else f"Cost against {noun}s removed",
                _drawn(report, lines, by_speed, top, wide),
                _drawn(report, lines, by_speed, top, narrow),
                legend if len(lines) > 1 else (),
                caption,
            )
        )
    return figures


def _series(report: Report, by_speed: bool) -> list[Series]:
    methods: dict[str, list[Point]] = {OWN: []}
    for item in report.recommendations:
        for name, found in [(OWN, item), *((rival.method, rival) for rival in item.rivals)]:
            speed = found.decoding
            if not math.isfinite(found.difference.value) or (by_speed and speed is None):
                continue
            players = joined([report.players[player] for player in found.removed])
            ends = interval(found.difference)
            text = f"{name}, {item.size} removed ({players}): {signed(found.difference.value)}"
            text += f" ({ends}) nats per token" if ends else " nats per token"
            if speed is not None:
                text += f", decoding {fixed(speed.value)}×"
            x = speed if by_speed and speed is not None else Estimate(float(item.size))
            methods.setdefault(name, []).append(Point(x, found.difference, text))
    named = [Series(name, style, tuple(p)) for style, (name, p) in enumerate(methods.items())]
    return [line for line in named if line.points]


def _upper_edge(lines: Sequence[Series]) -> tuple[float, bool]:
    """Returns the top of the plot: one ruinous heuristic must not flatten the rest."""
    everything = [max(p.y.value, _upper(p.y)) for line in lines for p in line.points]
    own = [max(p.y.value, _upper(p.y)) for line in lines[:1] for p in line.points]
    top = min(max(everything), 2.0 * max(own)) if max(own) > 0 else max(everything)
    return (top if top > 0 else 0.1), max(everything) > top > 0


def _upper(estimate: Estimate) -> float:
    return estimate.upper if estimate.has_interval else estimate.value


def _lower(estimate: Estimate) -> float:
    return estimate.lower if estimate.has_interval else estimate.value


def _drawn(
    report: Report, lines: Sequence[Series], by_speed: bool, top: float, width: int
) -> Markup:
    points = [point for line in lines for point in line.points]
    origin = 1.0 if by_speed else 0.0
    xs = [origin, *(e for p in points for e in (_lower(p.x), _upper(p.x)))]
    pad = 0.04 * (max(xs) - min(xs)) or 0.1
    low = min(0.0, *(_lower(point.y) for point in points))
    y_range = (low * 1.1 if low < 0 else 0.0, top * 1.06)
    height = 250.0 if width < 400 else 290.0
    frame = Frame(44.0, 34.0, width - 44 - 46, height, (min(xs) - pad, max(xs) + pad), y_range)
    noun = report.player_noun
    title = "decoding speed, ratio to the whole model" if by_speed else f"{noun}s removed"
    canvas = Canvas(width, height + 34 + 46, f"Held-out cost against {title}")
    x_ticks = ticks(*frame.x_range, 10 if width > 400 and not by_speed else 6, whole=not by_speed)
    y_ticks = ticks(*y_range, 6)
    axes(canvas, frame, x_ticks, y_ticks, title, "held-out cost, nats per token")
    _perplexities(canvas, report, frame, y_ticks)
    # A nested drawing clips what leaves the plot without needing identifiers.
    canvas.open("svg", x=0, y=frame.top - 6, width=width, height=height + 12,
                viewBox=f"0 {frame.top - 6:.0f} {width} {height + 12:.0f}")  # fmt: skip
    for place, line in reversed(list(enumerate(lines))):
        shift = 0.0 if by_speed else 3.0 * (place - (len(lines) - 1) / 2)
        _line(canvas, frame, line, origin, shift)
    canvas.close("svg")
    marker(canvas, 0, frame.x(origin), frame.y(0.0), "the whole model", 3.0)
    return canvas.markup()


def _line(canvas: Canvas, frame: Frame, line: Series, origin: float, shift: float) -> None:
    style = f"s{line.style % 5}" + ("" if line.style == 0 else " rival")
    places = [(frame.x(p.x.value) + shift, frame.y(p.y.value)) for p in line.points]
    path = "".join(
        f"{'L' if index else 'M'}{x:.1f} {y:.1f}"
        for index, (x, y) in enumerate([(frame.x(origin), frame.y(0.0)), *places])
    )
    canvas.add("path", cls=f"line {style}", d=path)
    for point, (x, y) in zip(line.points, places, strict=True):
        if point.y.has_interval:
            a, b = frame.y(point.y.lower), frame.y(point.y.upper)
            canvas.add("line", cls=f"bar {style}", x1=x, x2=x, y1=a, y2=b)
        if point.x.has_interval:
            a, b = frame.x(point.x.lower), frame.x(point.x.upper)
            canvas.add("line", cls=f"bar {style}", x1=a, x2=b, y1=y, y2=y)
        marker(canvas, line.style, x, y, point.text, 5.0 if line.style == 0 else 4.0)


def _perplexities(canvas: Canvas, report: Report, frame: Frame, y_ticks: Sequence[float]) -> None:
    """Labels the right edge with the perplexity that each cost means."""
    right = frame.left + frame.width
    canvas.text("perplexity", right + 46, frame.top - 14, cls="name", text_anchor="end")
    for value in y_ticks:
        perplexity = math.exp(min(700.0, report.dense.nll + value))
        label = fixed(perplexity, 1) if perplexity < 1000 else f"{perplexity:.1e}"
        canvas.text(label, right + 46, frame.y(value) + 4, cls="tick", text_anchor="end")
