"""Exhaustive search: every set of one size, where that is affordable."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from sampling.strata import unrank
from shapley.game import Game, evaluate
from shapley.search.candidate import Candidate, from_rows, limits_of
from shapley.search.constraints import Limits

__all__ = ["exhaustive_search", "sets_of"]

CHUNK = 65_536


def sets_of(limits: Limits, count: int) -> int:
    """Returns how many sets of ``count`` players exhaustive search looks at."""
    return limits.n - count + 1 if limits.contiguous else math.comb(len(limits.free), count)


def exhaustive_search(
    game: Game,
    count: int,
    most: int = 16,
    limits: Limits | None = None,
    limit: int = 2_000_000,
) -> list[Candidate]:
    """Returns the ``most`` best sets of ``count`` players to remove: the true optimum.

    Sets that break the limits are not evaluated. Unbroken runs are at most ``n`` sets.

    Args:
        game: any game; a surrogate as a rule.
        count: number of players to remove.
        most: sets to return, best first.
        limits: constraints on the sets.
        limit: the most sets to look at.

    Raises:
        ValueError: if there are more sets than ``limit``, or the count cannot be reached.
    """
    rules = limits_of(game, limits)
    rules.check([count])
    total = sets_of(rules, count)
    if total > limit:
        raise ValueError(
            f"count of {count} among {len(rules.free)} players has {total} sets, more than the"
            f" limit of {limit}; raise limit or use beam_search"
        )
    rows, utilities = np.empty((0, rules.n), dtype=bool), np.empty(0)
    for at in range(0, total, CHUNK):
        part = _part(rules, count, at, min(CHUNK, total - at))
        rows = np.concatenate([rows, part])
        utilities = np.concatenate([utilities, _utilities(game, part)])
        best = np.argsort(-utilities, kind="stable")[:most]
        rows, utilities = rows[best], utilities[best]
    return from_rows(rows, utilities, "exhaustive")


def _part(limits: Limits, count: int, first: int, size: int) -> Bool[np.ndarray, "B n"]:
    """Returns the allowed ones of ``size`` sets, from a rank on."""
    if limits.contiguous:
        return limits.runs(count)
    rows = np.ones((size, limits.n), dtype=bool)
    rows[:, limits.free] = unrank(len(limits.free), count, np.arange(first, first + size))
    return rows if limits.plain else rows[limits.allowed(rows)]


def _utilities(game: Game, rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
    return evaluate(game, rows) if len(rows) else np.empty(0)
