"""A set of players to remove, as the searches hand it on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shapley.game import Game
from shapley.search.constraints import Limits

__all__ = ["Candidate", "best_first", "best_rows", "from_rows", "limits_of", "rows_of"]


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
    """Returns a candidate for each coalition of kept players.

    Args:
        coalitions: rows, True = kept.
        utilities: one a row.
        source: name of the search that found them.
    """
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


def best_rows(
    coalitions: Bool[np.ndarray, "B n"],
    utilities: Float[np.ndarray, "B"],
    source: str,
    most: int,
) -> list[Candidate]:
    """Returns the ``most`` best distinct sets of a long list, which may repeat sets.

    Args:
        coalitions: rows, True = kept.
        utilities: one a row.
        source: name of the search that found them.
        most: candidates to return.
    """
    order, found = np.argsort(-utilities, kind="stable"), dict[bytes, int]()
    packed = np.packbits(coalitions, axis=1)
    for place in order.tolist():
        found.setdefault(packed[place].tobytes(), place)
        if len(found) == most:
            break
    best = list(found.values())
    return best_first(from_rows(coalitions[best], utilities[best], source))


def limits_of(game: Game, limits: Limits | None) -> Limits:
    """Returns the limits of a search: those given, or none at all.

    Raises:
        ValueError: if the limits are for another number of players.
    """
    n = len(game.players)
    if limits is None:
        return Limits(n)
    if limits.n != n:
        raise ValueError(f"limits is for {limits.n} players, the game has {n}; build it with n={n}")
    return limits
