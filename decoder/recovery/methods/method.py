"""What a method of repair is, and how one that a model does not admit is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.surgery.edit import Edits

__all__ = ["Method"]


@dataclass(frozen=True)
class Method:
    """A way to fit what is left to what was there.

    Attributes:
        name: what people call it.
        source: where it is from.
        refusal: `refusal(anatomy, path)` says why it cannot be done exactly; None where it can.
        run: fits along the stream from left to right.
        stock: the result is a stock checkpoint; otherwise matrices at the cuts stay beside it.
        head: it gives the head new values, and a weight of its own where it is tied.
        variants: `variants(anatomy, path)` gives other edits to run on, of which the one is kept
            that leaves least missing; None where it runs on the edits that are given.
        within: name of a method that fits all that this one does, and more; None without one.
    """

    name: str
    source: str
    refusal: Callable[[Anatomy, Path], str | None]
    run: Callable[[RepairedStream], None]
    stock: bool = True
    head: bool = False
    variants: Callable[[Anatomy, Path], Sequence[Edits]] | None = None
    within: str | None = None
