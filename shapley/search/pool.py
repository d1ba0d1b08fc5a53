"""Which sets a search looks at: all of them where that is affordable, else the promising ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from sampling.coalitions import distinct
from sampling.strata import unrank
from shapley.search.beam import children, grow
from shapley.search.candidate import rows_of
from shapley.search.constraints import Limits

__all__ = ["Neighbourly", "every_set", "near_sets"]

WIDTH = 16
EFFORT = 60_000
STARTS = 2, 8
CLIMBS = 4


class Neighbourly(Protocol):
    """Expects utilities of coalitions, and of all their neighbours at once."""

    def mean(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the expected utilities."""
        ...

    def removals(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B n"]:
        """Returns the expected utilities once one more player is removed.

        Entries of players that are removed already say nothing.
        """
        ...

    def exchanges(self, coalition: Bool[np.ndarray, "n"], /) -> Float[np.ndarray, "r k"]:
        """Returns the expected utilities once one removed player takes the place of a kept one.

        A row for each player that is removed now, a column for each that is kept, ascending.
        """
        ...


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
    belief: Neighbourly,
    elite: Bool[np.ndarray, "e n"],
    limits: Limits,
    counts: Sequence[int],
    most: int,
) -> tuple[Bool[np.ndarray, "N n"], Float[np.ndarray, "N"]]:
    """Returns sets that a belief expects to be good, and the best exchanges of good measured ones.

    Args:
        belief: what is expected.
        elite: the best measured coalitions of every count.
        limits: constraints on the sets.
        counts: numbers of removed players.
        most: exchanges of one set to return, the best.

    Returns:
        distinct coalitions and their expected utilities.
    """
    beams = _beams(belief, limits, counts)
    rows, means = [], []
    for count in counts:
        exchanges = max(count * (len(limits.free) - count), 1)
        starts = int(np.clip(EFFORT // (len(counts) * exchanges), *STARTS))
        own = elite[(~elite).sum(axis=1) == count]
        seeds = distinct(np.concatenate([own[:starts], beams[count][:starts]]))
        seeds = seeds[limits.allowed(seeds)]
        expected = belief.mean(seeds)
        rows.append(seeds)
        means.append(expected)
        order = np.argsort(-expected, kind="stable")
        for rank, place in enumerate(order):
            climbs = CLIMBS if rank < max(1, starts // 2) else 1
            for near, mean in _climb(
                belief, seeds[place], float(expected[place]), limits, climbs, most
            ):
                rows.append(near)
                means.append(mean)
    found, mean = np.concatenate(rows), np.concatenate(means)
    first = _first_places(found)
    return found[first], mean[first]


def _beams(
    belief: Neighbourly, limits: Limits, counts: Sequence[int]
) -> dict[int, Bool[np.ndarray, "w n"]]:
    """Returns the sets of every count that a beam search on the belief finds."""

    def expand(
        beam: Bool[np.ndarray, "W n"],
    ) -> tuple[Bool[np.ndarray, "B n"], Float[np.ndarray, "B"]]:
        rows, parent, player = children(beam, limits.free)
        first = _first_places(rows)
        return rows[first], belief.removals(beam)[parent[first], player[first]]

    found = grow(expand, belief.mean, limits.check(counts), WIDTH, limits)
    return {count: rows_of(sets, limits.n) for count, sets in found.items()}


def _climb(
    belief: Neighbourly,
    row: Bool[np.ndarray, "n"],
    expected: float,
    limits: Limits,
    climbs: int,
    most: int,
) -> list[tuple[Bool[np.ndarray, "N n"], Float[np.ndarray, "N"]]]:
    """Returns the best exchanges of a set, of the best one of these, and so on while they help."""
    found = []
    for _ in range(climbs):
        near, mean = _best_exchanges(belief, row, limits, most)
        found.append((near, mean))
        if not len(mean) or mean[0] <= expected:
            break
        row, expected = near[0], float(mean[0])
    return found


def _best_exchanges(
    belief: Neighbourly, row: Bool[np.ndarray, "n"], limits: Limits, most: int
) -> tuple[Bool[np.ndarray, "N n"], Float[np.ndarray, "N"]]:
    """Returns the allowed sets one exchange of free players away that are expected to be best."""
    if limits.pairs is not None:
        near = limits.pair_moves(row)
        mean = belief.mean(near) if len(near) else np.empty(0)
        order = np.argsort(-mean, kind="stable")[:most]
        return near[order], mean[order]
    free = np.zeros(limits.n, dtype=bool)
    free[limits.free] = True
    mean = belief.exchanges(row)
    mean = mean[np.ix_(free[~row], free[row])]
    out, back = np.nonzero(~row & free)[0], np.nonzero(row & free)[0]
    order = np.argsort(-mean, axis=None, kind="stable")
    if not limits.savings:
        order = order[:most]
    near = np.repeat(row[None], len(order), axis=0)
    places = np.arange(len(order))
    near[places, out[order // max(len(back), 1)]] = True
    near[places, back[order % max(len(back), 1)]] = False
    fits = limits.allowed(near)
    return near[fits][:most], mean.ravel()[order][fits][:most]


def _first_places(rows: Bool[np.ndarray, "B n"]) -> Int[np.ndarray, "D"]:
    """Returns where each distinct row is seen first, ascending."""
    return np.sort(np.unique(np.packbits(rows, axis=1), axis=0, return_index=True)[1])
