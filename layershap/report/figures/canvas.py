"""Inline SVG by hand: scales, ticks, axes and markers.

Figures take their colours from the page's style sheet, so one drawing serves light, dark and
print, stays sharp at any size and needs no script.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from layershap.report.wording import fixed

__all__ = [
    "Canvas",
    "Figure",
    "Frame",
    "Key",
    "axes",
    "look",
    "marker",
    "swatch",
    "tick_labels",
    "ticks",
]

SHAPES = ("circle", "square", "triangle", "diamond", "cross")


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        swatch: a small drawing.
        text: what it stands for.
    """

    swatch: Markup
    text: str


@dataclass(frozen=True)
class Figure:
    """A drawing for wide pages and one for phones.

    Attributes:
        name: identifier in the page.
        title: heading.
        wide: SVG for pages.
        narrow: SVG for phones.
        legend: keys, if any.
        caption: what to read off, in a sentence or two.
    """

    name: str
    title: str
    wide: Markup
    narrow: Markup
    legend: tuple[Key, ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Frame:
    """The plotting area of a figure and its two linear scales.

    Attributes:
        left: pixel of the left edge.
        top: pixel of the upper edge.
        width: pixels.
        height: pixels.
        x_range: values at the left and the right edge.
        y_range: values at the lower and the upper edge.
    """

    left: float
    top: float
    width: float
    height: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        """Returns the pixel of a value, held within one frame of the plotting area."""
        low, high = self.x_range
        return self.left + self.width * _clamped((value - low) / (high - low))

    def y(self, value: float) -> float:
        """Returns the pixel of a value, held within one frame of the plotting area."""
        low, high = self.y_range
        return self.top + self.height * (1 - _clamped((value - low) / (high - low)))


def _clamped(fraction: float) -> float:
    return min(2.0, max(-1.0, fraction))


class Canvas:
    """Collects the elements of one SVG; text and attributes are escaped on the way in.

    Without a title it is decoration, which screen readers pass over.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width = width
        self.height = height
        across, down = _short(width), _short(height)
        named = {"role": "img", "aria_label": title} if title else {"aria_hidden": "true"}
        size = {"viewBox": f"0 0 {across} {down}", "width": across, "height": down}
        self._parts: list[str] = [f"<svg{_written({**size, **named})}>"]

    def add(self, tag: str, tooltip: str = "", /, **attributes: float | str) -> None:
        """Adds one element; ``_`` in a name stands for ``-`` and ``cls`` for ``class``."""
        inner = f"<title>{escape(tooltip)}</title>" if tooltip else ""
        self._parts.append(f"<{tag}{_written(attributes)}>{inner}</{tag}>")

    def text(self, content: str, x: float, y: float, **attributes: float | str) -> None:
        """Adds a line of text."""
        written = _written({"x": x, "y": y, **attributes})
        self._parts.append(f"<text{written}>{escape(content)}</text>")

    def open(self, tag: str, **attributes: float | str) -> None:
        """Opens an element that holds the next ones."""
        self._parts.append(f"<{tag}{_written(attributes)}>")

    def close(self, tag: str) -> None:
        """Closes the element opened last."""
        self._parts.append(f"</{tag}>")

    def markup(self) -> Markup:
        """Returns the whole SVG."""
        return Markup("".join([*self._parts, "</svg>"]))


def _written(attributes: dict[str, float | str]) -> str:
    return "".join(
        f' {"class" if name == "cls" else name.replace("_", "-")}="'
        f'{escape(value) if isinstance(value, str) else _short(value)}"'
        for name, value in attributes.items()
    )


def _short(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Returns round numbers inside a range, at most about ``most`` of them.

    Args:
        low: lower end.
        high: upper end, above the lower one.
        most: how many fit.
        whole: only whole numbers.

    Raises:
        ValueError: if the range is empty or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise ValueError(f"ticks need a range, got {low} to {high}; pass low < high, both finite")
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, math.ceil(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Returns ticks written with as many digits as their step needs."""
    step = min((b - a for a, b in itertools.pairwise(values)), default=1.0)
    digits = next(d for d in range(8) if abs(round(step, d) - step) < step * 1e-6 or d == 7)
    return [fixed(value, digits) for value in values]


def axes(
    canvas: Canvas,
    frame: Frame,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_title: str,
    y_title: str,
) -> None:
    """Draws horizontal grid lines, tick labels and titles; the y title lies flat on top."""
    bottom = frame.top + frame.height
    for value, label in zip(y_ticks, tick_labels(y_ticks), strict=True):
        y = frame.y(value)
        right = frame.left + frame.width
        canvas.add("line", cls="grid", x1=frame.left, x2=right, y1=y, y2=y)
        canvas.text(label, frame.left - 8, y + 4, cls="tick", text_anchor="end")
    for value, label in zip(x_ticks, tick_labels(x_ticks), strict=True):
        x = frame.x(value)
        canvas.add("line", cls="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4)
        canvas.text(label, x, bottom + 18, cls="tick", text_anchor="middle")
    canvas.add("line", cls="axis", x1=frame.left, x2=frame.left + frame.width, y1=bottom, y2=bottom)
    middle = frame.left + frame.width / 2
    canvas.text(x_title, middle, bottom + 38, cls="name", text_anchor="middle")
    canvas.text(y_title, 0, frame.top - 14, cls="name")


def look(style: int) -> tuple[int, str]:
    """Returns the colour, 0 to 4, and the shape of a series; the first 21 all look different.

    The first series is the only one of its colour.
    """
    if style < len(SHAPES):
        return style, SHAPES[style]
    turn, colour = divmod(style - len(SHAPES), len(SHAPES) - 1)
    return colour + 1, SHAPES[(colour + 2 + turn) % len(SHAPES)]


def marker(
    canvas: Canvas,
    style: int,
    x: float,
    y: float,
    tooltip: str = "",
    radius: float = 4.5,
    *,
    faint: bool = False,
) -> None:
    """Draws the marker of a series: colour and shape both tell it apart."""
    colour, shape = look(style)
    cls = f"mark s{colour}{' faint' if faint else ''}"
    r = radius
    if shape == "circle":
        canvas.add("circle", tooltip, cls=cls, cx=x, cy=y, r=r)
        return
    corners = {
        "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        "triangle": [(0, -1.1), (1.05, 0.8), (-1.05, 0.8)],
        "diamond": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
        "cross": [
            (-1.1, -0.35), (-0.35, -0.35), (-0.35, -1.1), (0.35, -1.1), (0.35, -0.35),
            (1.1, -0.35), (1.1, 0.35), (0.35, 0.35), (0.35, 1.1), (-0.35, 1.1),
            (-0.35, 0.35), (-1.1, 0.35),
        ],
    }[shape]  # fmt: skip
    points = " ".join(f"{_short(x + a * r)},{_short(y + b * r)}" for a, b in corners)
    canvas.add("polygon", tooltip, cls=cls, points=points)


def swatch(style: int | str) -> Markup:
    """Returns a legend's drawing: a series' marker, or a dot of the named class."""
    canvas = Canvas(14, 14, "")
    if isinstance(style, int):
        marker(canvas, style, 7, 7)
    else:
        canvas.add("circle", cls=style, cx=7, cy=7, r=5)
    return canvas.markup()
