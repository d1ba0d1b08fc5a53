"""How to cut sorted coalitions into runs that share work: pure functions of costs.

Costs are counted in layer evaluations. Coalitions that keep the same players up to some depth
share the hidden states up to there, so in depth-first order each coalition costs only what it does
not share with its predecessor, plus the head.

The sizes follow guided self-scheduling (Polychronopoulos and Kuck, 1987, "Guided self-scheduling:
a practical scheduling scheme for parallel supercomputers", IEEE Trans. Computers C-36): each run
is a fixed share of what is left, so that the last ones are small and the workers end together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

__all__ = ["Costs", "contiguous_runs", "costs", "next_stop"]

SHARE = 2.0  # a run is 1 / (SHARE * workers) of what is left
WINDOW = 0.25  # how far a cut may move, as a part of the run, to split less shared work


@dataclass(frozen=True, eq=False)
class Costs:
    """Costs of ``B`` sorted coalitions, in layer evaluations.

    Attributes:
        alone: cost of each when nothing comes before it.
        shared: how much of it the predecessor has computed already; 0 for the first.
    """

    alone: Float64[np.ndarray, "B"]
    shared: Int64[np.ndarray, "B"]

    def of_run(self, start: int, stop: int) -> float:
        """Returns the cost of the run ``start .. stop - 1``, whose first row shares nothing."""
        if start >= stop:
            return 0.0
        saved = self.shared[start + 1 : stop].sum()
        return float(self.alone[start:stop].sum() - saved)


def costs(coalitions: Bool[np.ndarray, "B n"], head_cost: float = 2.0) -> Costs:
    """Returns the costs of coalitions in the order given.

    Two coalitions share the leading players that both keep: as many as are kept before the first
    player on which they differ.

    Args:
        coalitions: rows in :func:`sampling.lexicographic_order`, True = kept.
        head_cost: cost of the final norm, the output matrix and the loss, in layer evaluations.
    """
    size, n = coalitions.shape
    kept = np.cumsum(coalitions, axis=1, dtype=np.int64)
    alone = coalitions.sum(axis=1) + float(head_cost)
    shared = np.zeros(size, dtype=np.int64)
    if size > 1:
        differs = coalitions[1:] != coalitions[:-1]
        first = np.where(differs.any(axis=1), differs.argmax(axis=1), n)
        before = np.concatenate([np.zeros((size, 1), dtype=np.int64), kept], axis=1)
        shared[1:] = before[np.arange(1, size), first]
    return Costs(alone, shared)


def next_stop(
    table: Costs, start: int, stop: int, *, workers: int, most: float = np.inf, least: float = 0.0
) -> int:
    """Returns where the run that begins at ``start`` ends, at least one row later.

    Args:
        table: costs of all rows.
        start: first row of the run.
        stop: one past the last row that is left.
        workers: how many share what is left.
        most: longest run wanted, so that little is lost with a worker.
        least: shortest run wanted, so that handing out work stays cheap.
    """
    left = table.of_run(start, stop)
    target = min(max(left / (SHARE * workers), least), most)
    spent = np.cumsum(table.alone[start:stop] - table.shared[start:stop]) + table.shared[start]
    # The longest run within the target, then the nearby cut that breaks the least shared work.
    latest = start + max(int(np.searchsorted(spent, target, side="right")), 1)
    earliest = start + max(int(np.searchsorted(spent, (1 - WINDOW) * target, side="right")), 1)
    if latest >= stop:
        return stop
    cuts = table.shared[earliest : latest + 1]
    return latest - int(cuts[::-1].argmin())


def contiguous_runs(
    coalitions: Bool[np.ndarray, "B n"],
    *,
    workers: int,
    head_cost: float = 2.0,
    most: float = np.inf,
    least: float = 0.0,
) -> list[tuple[int, int]]:
    """Cuts sorted coalitions into contiguous runs ``(start, stop)`` that shrink towards the end.

    Args:
        coalitions: rows in :func:`sampling.lexicographic_order`, True = kept.
        workers: how many will share them.
        head_cost: cost of the head, in layer evaluations.
        most: longest run, in layer evaluations.
        least: shortest run, in layer evaluations.
    """
    table = costs(coalitions, head_cost)
    runs: list[tuple[int, int]] = []
    start = 0
    while start < len(coalitions):
        stop = next_stop(table, start, len(coalitions), workers=workers, most=most, least=least)
        runs.append((start, stop))
        start = stop
    return runs
