"""The design of a measuring campaign: which coalitions of an expensive game to evaluate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from sampling.allocation import allocate
from sampling.anchors import anchors
from sampling.coalitions import keys
from sampling.pairs import paired
from sampling.strata import draw_stratum, stratum_size
from sampling.streams import stream

__all__ = ["Design", "campaign_design"]


@dataclass(frozen=True, eq=False)
class Design:
    """Coalitions to measure and why each is there.

    Attributes:
        coalitions: distinct rows, True = kept.
        origin: ``"anchor"``, ``"paired"`` or ``"stratified"`` for each row.
        seed: of the random streams.
        budget: the number of coalitions asked for; the design has ``min(budget, 2^n)``.
    """

    coalitions: Bool[np.ndarray, "m n"]
    origin: np.ndarray
    seed: int
    budget: int

    def __len__(self) -> int:
        return len(self.coalitions)


def campaign_design(
    n: int, budget: int, max_removed: int, seed: int, *, over_all: float = 0.5
) -> Design:
    """Returns the coalitions to measure with a budget.

    First the anchors; then a part of what remains, half unless told otherwise, as complement pairs
    over all sizes, for the Shapley values; the other part spread evenly over the strata of 2 to
    ``max_removed`` removals, for the search and the size-restricted values. What the strata cannot
    use goes to the pairs. Inside each size the coalitions are a uniform sample without replacement.

    A larger budget with the same seed and ``max_removed`` contains a smaller one's coalitions
    (while no stratum is asked for more than 16,384 coalitions).

    Args:
        n: number of players.
        budget: number of distinct coalitions, at least ``n + 2`` (or ``2^n`` if that is less).
            From ``2^n`` on, every coalition is in the design.
        max_removed: the most players that the search may remove, 1 to ``n``.
        seed: of the random streams.
        over_all: share of the complement pairs, 0 to 1. Little where utilities are next to
            nothing in all sets but those of few removals.

    Raises:
        ValueError: if the budget cannot hold the anchors, or ``max_removed`` is out of range.
    """
    if not 1 <= max_removed <= n:
        raise ValueError(f"max_removed must be between 1 and n = {n} players, got {max_removed}")
    first = anchors(n)
    if budget < len(first):
        raise ValueError(
            f"budget must be at least {len(first)} coalitions for {n} players (all, none and each"
            f" single removal), got {budget}"
        )
    remaining = min(budget, 1 << n) - len(first)
    removals = range(2, min(max_removed, n - 1) + 1)

    # The pairs' own sequence does not depend on the budget: take enough of it, skip anchors.
    sequence = paired(n, remaining + n + 2, seed)
    sequence = sequence[(~sequence).sum(axis=1) != 1]
    pairs, later = np.split(sequence, [int(over_all * remaining) if removals else remaining])

    taken = np.bincount((~pairs).sum(axis=1), minlength=n + 1)
    strata = _strata(n, removals, remaining - len(pairs), taken, set(keys(pairs)), seed)
    if (short := remaining - len(pairs) - len(strata)) > 0:
        stratum_of = (~later).sum(axis=1)
        outside = later[(stratum_of < 2) | (stratum_of > max_removed)]
        pairs = np.concatenate([pairs, outside[:short]])

    parts = {"anchor": first, "paired": pairs, "stratified": strata}
    origin = np.repeat(np.array(list(parts)), [len(part) for part in parts.values()])
    return Design(np.concatenate(list(parts.values())), origin, seed, budget)


def _strata(
    n: int, removals: range, total: int, taken: np.ndarray, seen: set[bytes], seed: int
) -> Bool[np.ndarray, "B n"]:
    """Draws about equally many coalitions of each stratum that are not in the pairs."""
    free = {removed: stratum_size(n, removed) - int(taken[removed]) for removed in removals}
    quotas = allocate([1.0] * len(free), list(free.values()), total)
    rows = [np.empty((0, n), dtype=bool)]
    for removed, quota in zip(free, quotas, strict=True):
        rng = stream(seed, "campaign", n, removed)
        drawn = draw_stratum(n, removed, quota + int(taken[removed]), rng)
        fresh = np.array([key not in seen for key in keys(drawn)], dtype=bool)
        rows.append(drawn[fresh][:quota])
    return np.concatenate(rows)
