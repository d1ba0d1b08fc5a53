"""Which sets a search looks at: all of them where that is affordable, else the promising ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from sampling.coalitions import distinct
from sampling.strata import unrank
from shapley.game import FunctionGame
from shapley.search.beam import beam_search
from shapley.search.candidate import best_rows, rows_of
from shapley.search.constraints import Limits
from shapley.search.swap import swap_search

__all__ = ["every_set", "near_sets"]

WIDTH = 16
EFFORT = 60_000
CLIMBS = 3


def every_set(limits: Limits, counts: Sequence[int], most: int) -> Bool[np.ndarray, "N n"] | None:
    """Returns all allowed coalitions of the counts, or None if there are more than ``most``.

    Args:
        limits: which sets are allowed.
        counts: numbers of players to remove.
        most: rows above which there is no answer.
    """
    if limits.contiguous:
        return np.concatenate([limits.runs(count) for count in counts])
    free = limits.free
    totals = [math.comb(len(free), count) for count in counts]
    if sum(totals) > most:
        return None
    rows = np.ones((sum(totals), limits.n), dtype=bool)
    parts = [unrank(len(free), c, np.arange(t)) for c, t in zip(counts, totals, strict=True)]
    rows[:, free] = np.concatenate(parts)
    return rows[limits.allowed(rows)]


def near_sets(
    mean: Callable[[Bool[np.ndarray, "B n"]], Float[np.ndarray, "B"]],
    elite: Bool[np.ndarray, "e n"],
    limits: Limits,
    counts: Sequence[int],
) -> Bool[np.ndarray, "N n"]:
    """Returns sets that a belief expects to be good, and all exchanges of good measured ones.

    Args:
        mean: expected utilities.
        elite: the best measured coalitions of every count.
        limits: constraints on the sets.
        counts: numbers of removed players.
    """
    n, free = limits.n, len(limits.free)
    game = FunctionGame(mean, n)
    beams = beam_search(game, counts, WIDTH, limits)
    found = []
    for count in counts:
        own = elite[(~elite).sum(axis=1) == count]
        expected = rows_of(beams[count], n)
        exchanges = max(count * (free - count), 1)
        starts = max(1, EFFORT // (len(counts) * exchanges * (CLIMBS + 1)))
        seeds = distinct(np.concatenate([own[:starts], expected[:starts]]))
        near = exchanged(seeds, limits)
        best = best_rows(seeds, mean(seeds), "seed", starts)
        climbed = swap_search(game, best, limits, most_rounds=CLIMBS)
        found += [near, expected, rows_of(climbed, n)]
    rows = distinct(np.concatenate(found))
    return rows[limits.allowed(rows)]


def exchanged(rows: Bool[np.ndarray, "B n"], limits: Limits) -> Bool[np.ndarray, "N n"]:
    """Returns the rows and all that differ from one of them by one exchange of free players."""
    found = [rows]
    for row in rows:
        out = limits.free[~row[limits.free]]
        back = limits.free[row[limits.free]]
        near = np.repeat(row[None], len(out) * len(back), axis=0)
        places = np.arange(len(near))
        near[places, np.repeat(out, len(back))] = True
        near[places, np.tile(back, len(out))] = False
        found.append(near)
    return np.concatenate(found)
