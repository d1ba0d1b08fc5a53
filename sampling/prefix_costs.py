"""What coalitions cost to measure one after the other: shared prefixes of kept layers are free.

Costs are counted in layer evaluations, or in whatever unit the players' costs are given.
Coalitions that keep the same players up to some depth share the hidden states up to there, so in
depth-first order each coalition costs only what it does not share with its predecessor, plus the
head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

__all__ = ["PrefixCosts", "prefix_costs"]

SLICE = 16_384  # rows looked at in one go: a million coalitions need no more memory than that


@dataclass(frozen=True, eq=False)
class PrefixCosts:
    """Costs of ``B`` coalitions in the order in which they will be measured.

    Attributes:
        before: cost of all rows before each one, measured in one go; the last entry is the total.
        shared: how much of a row's cost its predecessor has computed already; 0 for the first.
    """

    before: Float64[np.ndarray, "B+1"]
    shared: Float64[np.ndarray, "B"]

    def of_run(self, start: int, stop: int) -> float:
        """Returns the cost of the run ``start .. stop - 1``, whose first row shares nothing."""
        if start >= stop:
            return 0.0
        return float(self.before[stop] - self.before[start] + self.shared[start])


def prefix_costs(
    coalitions: Bool[np.ndarray, "B n"],
    player_costs: Float[np.ndarray, "n"] | Sequence[float] | None = None,
    head_cost: float = 2.0,
) -> PrefixCosts:
    """Returns the costs of coalitions in the order given.

    Two coalitions share the leading players that both keep: as many as are kept before the first
    player on which they differ.

    Args:
        coalitions: rows, best in :func:`sampling.lexicographic_order`, True = kept.
        player_costs: cost of each player; nothing for one layer evaluation each.
        head_cost: cost of what every coalition needs: the final norm, the output matrix, the loss,
            and parts that are never left out.

    Raises:
        ValueError: if a cost is negative or not finite, or their number is not ``n``.
    """
    size, n = coalitions.shape
    prices = np.ones(n) if player_costs is None else np.asarray(player_costs, dtype=np.float64)
    if prices.shape != (n,):
        raise ValueError(
            f"player_costs must have one number for each of {n} players, got shape"
            f" {list(prices.shape)}; give one a column of coalitions"
        )
    if not np.isfinite([*prices, head_cost]).all() or min(*prices, head_cost) < 0:
        raise ValueError(
            "player_costs and head_cost must be finite and at least 0; give relative durations"
        )
    before = np.zeros(size + 1)
    shared = np.zeros(size)
    for start in range(0, size, SLICE):
        stop = min(start + SLICE, size)
        rows = coalitions[max(start - 1, 0) : stop]
        fresh = len(rows) - (stop - start)  # 1 if the first row is the one before the slice
        spent = np.zeros((len(rows), n + 1))
        np.cumsum(rows * prices, axis=1, out=spent[:, 1:])
        differs = rows[1:] != rows[:-1]
        first = np.where(differs.any(axis=1), differs.argmax(axis=1), n)
        shared[stop - len(first) : stop] = spent[np.arange(1, len(rows)), first]
        alone = spent[fresh:, n] + head_cost
        before[start + 1 : stop + 1] = before[start] + np.cumsum(alone - shared[start:stop])
    return PrefixCosts(before, shared)
