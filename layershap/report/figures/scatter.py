"""Measured against predicted utility, out of fold, coloured by the number removed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from layershap.report.data import Report, SurrogateFit
from layershap.report.figures.canvas import Canvas, Figure, Frame, Key, axes, swatch, ticks

__all__ = ["fit_figure"]

MOST_COLOURS = 7


def fit_figure(report: Report, wide: int, narrow: int) -> Figure | None:
    """Returns the scatter; None where no surrogate was fitted or nothing finite was predicted."""
    fit = report.surrogate
    if fit is None:
        return None
    points = [
        point
        for point in zip(fit.removed, fit.measured, fit.predicted, strict=True)
        if math.isfinite(point[1]) and math.isfinite(point[2])
    ]
    if not points:
        return None
    bands = colour_bands(sorted({point[0] for point in points}))
    return Figure(
        "surrogate-fit",
        "Measured against predicted",
        _scatter(report, fit, points, bands, wide),
        _scatter(report, fit, points, bands, narrow),
        tuple(
            Key(
                swatch(f"fill q{colour}"), f"{_range(band)} removed" if not colour else _range(band)
            )
            for colour, band in bands
        ),
        f"Each dot is one of {len(points):,} measured combinations, predicted by members of the"
        " ensemble that never saw it. Dots on the line are predicted exactly.",
    )


def colour_bands(found: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
    """Splits the numbers removed into neighbouring bands, each with a step of the colour scale."""
    bands = min(MOST_COLOURS, len(found))
    edges = [round(index * len(found) / bands) for index in range(bands + 1)]
    return [
        (
            round(band * (MOST_COLOURS - 1) / max(1, bands - 1)),
            found[edges[band] : edges[band + 1]],
        )
        for band in range(bands)
    ]


def _range(band: Sequence[int]) -> str:
    return f"{band[0]}–{band[-1]}" if len(band) > 1 else str(band[0])


def _scatter(
    report: Report,
    fit: SurrogateFit,
    points: Sequence[tuple[int, float, float]],
    bands: Sequence[tuple[int, Sequence[int]]],
    width: int,
) -> Markup:
    values = [value for point in points for value in point[1:]]
    low, high = min(values), max(values)
    pad = 0.04 * (high - low) or 0.5
    both = (low - pad, high + pad)
    left, right, top, bottom = 46.0, 10.0, 30.0, 46.0
    side = width - left - right
    height = side if width < 400 else 0.8 * side
    frame = Frame(left, top, side, height, both, both)
    canvas = Canvas(width, height + top + bottom, "Measured against predicted utility")
    axes(
        canvas,
        frame,
        ticks(*both, 5),
        ticks(*both, 5),
        f"predicted utility, {report.unit}",
        f"measured utility, {report.unit}",
    )
    canvas.add(
        "line", cls="identity",
        x1=frame.x(both[0]), y1=frame.y(both[0]), x2=frame.x(both[1]), y2=frame.y(both[1]),
    )  # fmt: skip
    radius = 5.0 if len(points) <= 600 else 4.0 if len(points) <= 2500 else 3.0
    for colour, band in bands:
        # Zero-length strokes with round ends: a dot costs a dozen bytes instead of an element.
        dots = "".join(
            f"M{frame.x(predicted):.1f} {frame.y(measured):.1f}h0"
            for removed, measured, predicted in points
            if removed in band
        )
        canvas.add("path", cls=f"dots q{colour}", d=dots, stroke_width=radius)
    return canvas.markup()
