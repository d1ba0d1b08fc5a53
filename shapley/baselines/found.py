"""What a baseline hands back: a set for each count, and what finding them took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Found", "checked_counts", "in_order"]

Removed = tuple[int, ...]


@dataclass(frozen=True)
class Found:
    """The sets of one baseline.

    Attributes:
        sets: sorted removed players for each number of removals.
        evaluations: evaluations of the game that the method needs by itself, each distinct
            coalition once, in units of a whole one: half of the text counts half.
        tokens: model tokens of passes that the method runs itself, beside its evaluations.
        note: what a reader should know.
    """

    sets: Mapping[int, Removed]
    evaluations: float = 0
    tokens: int = 0
    note: str | None = None


def in_order(order: Sequence[int] | np.ndarray, counts: Iterable[int]) -> dict[int, Removed]:
    """Returns the first players of an order as the set of each count: sorted once, cut anywhere.

    Raises:
        ValueError: if there are no counts or one cannot be reached.
    """
    players = [int(player) for player in order]
    return {count: tuple(sorted(players[:count])) for count in checked_counts(len(players), counts)}


def checked_counts(n: int, counts: Iterable[int]) -> list[int]:
    """Returns the counts sorted, each once.

    Raises:
        ValueError: if there are none, or one is outside ``1 .. n``.
    """
    wanted = sorted(set(counts))
    if not wanted:
        raise ValueError("counts must name at least one number of players to remove")
    for count in wanted:
        if not 1 <= count <= n:
            raise ValueError(f"counts has {count} removals; between 1 and {n} players can go")
    return wanted
