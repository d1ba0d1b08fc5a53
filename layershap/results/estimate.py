"""A number with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Estimate"]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the number.
        lower: lower end of the interval, 95 % unless stated; NaN where there is none.
        upper: upper end.
    """

    value: float
    lower: float = math.nan
    upper: float = math.nan

    @classmethod
    def of(cls, value: float | None, lower: float | None, upper: float | None) -> Estimate:
        """Build it of numbers that may be missing."""
        return cls(*(math.nan if end is None else float(end) for end in (value, lower, upper)))

    @property
    def has_interval(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.lower) and math.isfinite(self.upper)

    @property
    def low(self) -> float:
        """The lower end, or the number itself where there is no interval."""
        return self.lower if self.has_interval else self.value

    @property
    def high(self) -> float:
        """The upper end, or the number itself where there is no interval."""
        return self.upper if self.has_interval else self.value

    def __str__(self) -> str:
        """Write the value with its interval, signs shown."""
        if not self.has_interval:
            return f"{self.value:+.4f}"
        return f"{self.value:+.4f} ({self.lower:+.4f} to {self.upper:+.4f})"
