"""A set of players to remove, as the searches hand it on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["Candidate", "best_first", "from_rows", "removable", "rows_of"]


@dataclass(frozen=True)
class Candidate:
    """A set of players to remove.

    Attributes:
        removed: sorted player indices.
        utility: predicted utility of what is left; higher is better.
        source: name of the search that found it.
    """

    removed: tuple[int, ...]
    utility: float
    source: str


def from_rows(
    coalitions: Bool[np.ndarray, "B n"], utilities: Float[np.ndarray, "B"], source: str
) -> list[Candidate]:
    """Returns a candidate for each coalition of kept players."""
    return [
        Candidate(tuple(np.flatnonzero(~row).tolist()), float(utility), source)
        for row, utility in zip(coalitions, utilities, strict=True)
    ]


def rows_of(candidates: Sequence[Candidate], n: int) -> Bool[np.ndarray, "B n"]:
    """Returns the coalitions of kept players behind candidates."""
    rows = np.ones((len(candidates), n), dtype=bool)
    for row, candidate in zip(rows, candidates, strict=True):
        row[list(candidate.removed)] = False
    return rows


def best_first(candidates: Iterable[Candidate], most: int | None = None) -> list[Candidate]:
    """Returns distinct sets by falling utility; of equal sets the first given one stays."""
    kept: dict[tuple[int, ...], Candidate] = {}
    for candidate in candidates:
        kept.setdefault(candidate.removed, candidate)
    return sorted(kept.values(), key=lambda one: (-one.utility, one.removed))[:most]


def removable(n: int, counts: Iterable[int], protected: Sequence[int]) -> np.ndarray:
    """Returns the players that may be removed, after checking that the counts allow it.

    Raises:
        ValueError: if a protected player does not exist, or a count of removals is impossible.
    """
    for player in protected:
        if not 0 <= player < n:
            raise ValueError(f"protected has player {player}; players are 0 to {n - 1}")
    free = np.setdiff1d(np.arange(n), np.array(protected, dtype=np.int64))
    wanted = list(counts)
    if not wanted:
        raise ValueError("counts must name at least one number of players to remove")
    for count in wanted:
        if not 1 <= count <= len(free):
            raise ValueError(
                f"counts has {count} removals; between 1 and {len(free)} of {n} players can go"
                f" with {n - len(free)} protected"
            )
    return free
