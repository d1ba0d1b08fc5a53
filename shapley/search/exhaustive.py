"""Exhaustive search: every set of one size, where that is affordable."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sampling.strata import unrank
from shapley.game import Game, evaluate
from shapley.search.candidate import Candidate, from_rows, removable

__all__ = ["exhaustive_search"]

CHUNK = 65_536


def exhaustive_search(
    game: Game,
    count: int,
    most: int = 16,
    protected: Sequence[int] = (),
    limit: int = 2_000_000,
) -> list[Candidate]:
    """Returns the ``most`` best sets of ``count`` players to remove: the true optimum.

    Args:
        game: any game; a surrogate as a rule.
        count: number of players to remove.
        most: sets to return, best first.
        protected: players that stay.
        limit: the most sets to evaluate.

    Raises:
        ValueError: if there are more sets than ``limit``, or the count cannot be reached.
    """
    n = len(game.players)
    free = removable(n, [count], protected)
    total = math.comb(len(free), count)
    if total > limit:
        raise ValueError(
            f"count of {count} among {len(free)} players has {total} sets, more than the limit"
            f" of {limit}; raise limit or use beam_search"
        )
    rows, utilities = np.empty((0, n), dtype=bool), np.empty(0)
    for at in range(0, total, CHUNK):
        part = np.ones((min(CHUNK, total - at), n), dtype=bool)
        part[:, free] = unrank(len(free), count, np.arange(at, at + len(part)))
        rows = np.concatenate([rows, part])
        utilities = np.concatenate([utilities, evaluate(game, part)])
        best = np.argsort(-utilities, kind="stable")[:most]
        rows, utilities = rows[best], utilities[best]
    return from_rows(rows, utilities, "exhaustive")
