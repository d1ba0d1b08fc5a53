"""Numbers and names as a person writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from layershap.results.estimate import Estimate

__all__ = [
    "count",
    "duration",
    "fixed",
    "interval",
    "joined",
    "percent",
    "ratio",
    "share",
    "signed",
    "sizes",
]

NONE = "–"
MINUS = "−"


def fixed(number: float | None, digits: int = 2) -> str:
    """Returns a number with a fixed number of digits; a dash where there is none."""
    if number is None or not math.isfinite(number):
        return NONE
    text = f"{abs(number):,.{digits}f}"
    return (MINUS if number < 0 and float(text.replace(",", "")) else "") + text


def signed(number: float | None, digits: int = 3) -> str:
    """Returns a number with its sign in front."""
    text = fixed(number, digits)
    return f"+{text}" if number is not None and math.isfinite(number) and number >= 0 else text


def interval(estimate: Estimate | None, digits: int = 3, *, sign: bool = True) -> str:
    """Returns ``lower to upper``; nothing where there is no interval."""
    if estimate is None or not estimate.has_interval:
        return ""
    write = signed if sign else fixed
    return f"{write(estimate.lower, digits)} to {write(estimate.upper, digits)}"


def share(fraction: float | None, digits: int = 1) -> str:
    """Returns a fraction as a percentage."""
    return NONE if fraction is None else f"{fixed(100 * fraction, digits)} %"


def percent(fraction: float) -> str:
    """Returns a change as a signed percentage, with a digit more where it is small."""
    digits = 1 if abs(fraction) < 0.0995 else 0
    return f"{signed(100 * fraction, digits)} %"


def ratio(estimate: Estimate | None) -> str:
    """Returns a speed relative to dense, such as ``1.19×``."""
    return NONE if estimate is None else f"{fixed(estimate.value)}×"


def count(number: int) -> str:
    """Returns a whole number with thousands separated."""
    return f"{number:,}"


def sizes(number: float) -> str:
    """Returns a large number in short, such as ``6.7 B``."""
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            scaled = number / limit
            return f"{scaled:.0f} {letter}" if scaled >= 100 else f"{scaled:.1f} {letter}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """Returns a wall time in the two largest units that matter."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def joined(names: Sequence[str]) -> str:
    """Returns names as an enumeration: ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"
