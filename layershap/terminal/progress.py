"""How far work is that can be counted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Counted", "Progress"]


class Counted(Protocol):
    """What is shown of any work: the scheduler's own progress has more, and these."""

    @property
    def done(self) -> int:
        """Steps that are done."""
        ...

    @property
    def total(self) -> int:
        """Steps in all."""
        ...

    @property
    def rate(self) -> float | None:
        """Steps a second; None where that says little."""
        ...

    @property
    def seconds_left(self) -> float | None:
        """Estimate; None where there is none."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far work is.

    Attributes:
        done: steps that are done.
        total: steps in all.
        rate: steps a second; None where it is not known, or where a step's length says little.
        seconds_left: estimate; None where it cannot be told.
    """

    done: int
    total: int
    rate: float | None = None
    seconds_left: float | None = None

    @classmethod
    def since(cls, began: float, done: int, total: int) -> Progress:
        """Tell how far steps of about the same length are.

        Args:
            began: when the first one did, on the monotonic clock.
            done: steps that are done.
            total: steps in all.
        """
        each = (time.monotonic() - began) / done if done else None
        return cls(done, total, seconds_left=None if each is None else each * (total - done))
