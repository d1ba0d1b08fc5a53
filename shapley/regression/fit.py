"""Shapley values by weighted regression on coalitions that were measured before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from shapley.game import default_players
from shapley.regression.jackknife import pair_jackknife
from shapley.regression.weighting import GROUPS, gram, identified, solve, split_rows
from shapley.values import Status, Values

__all__ = ["fit_regression"]


def fit_regression(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    n: int,
    *,
    players: Sequence[str] | None = None,
    budget: int | None = None,
    seed: int = 0,
) -> Values:
    """Estimates Shapley values from coalitions that were measured before.

    The design may have any number of coalitions of each size, as long as they are a uniform
    sample of that size and the empty and the full coalition are among them. Coalitions whose
    complement was measured too tell more and weigh more; by how much is estimated from their
    residuals (diagnostic ``unpaired_weight``; 1 for a design of pairs). Standard errors
    leave out one of 20 groups of complement pairs at a time; the 95 % interval uses Student's
    t with 19 degrees of freedom.

    Args:
        coalitions: distinct rows.
        utilities: one a row.
        n: number of players.
        players: names; ``p0, p1, ...`` when omitted.
        budget: to report; the number of rows when omitted.
        seed: of the jackknife's groups.

    Raises:
        ValueError: if rows repeat, shapes do not fit, or the empty or full coalition is missing.
    """
    measured = np.asarray(utilities, dtype=np.float64)
    rows = split_rows(coalitions, n)
    if measured.shape != (len(coalitions),) or not np.isfinite(measured).all():
        raise ValueError(f"utilities must be {len(coalitions)} finite numbers, one a coalition")
    names = default_players(n) if players is None else tuple(players)
    budget = len(measured) if budget is None else budget
    span = measured[rows.full] - measured[rows.empty]
    targets = rows.targets(measured)
    unpaired = rows.unpaired_weight(targets)
    left, right = gram(rows.columns, targets, rows.weights(unpaired=unpaired))
    values = solve(left, right)[:n] + span / n
    complete = len(measured) == 1 << n
    determined = identified(left)

    errors, quantile = None, 1.96
    status = Status.WITHOUT_ERRORS if determined else Status.UNDERDETERMINED
    if complete:
        errors, status = np.zeros(n), Status.EXACT
    elif determined:

        def fit(weights: Float[np.ndarray, "k"]) -> Float[np.ndarray, "n"]:
            return solve(*gram(rows.columns, targets, weights))[:n]

        variance = pair_jackknife(rows, coalitions, fit, values - span / n, unpaired, seed)
        if variance is not None:
            errors, status = np.sqrt(variance), Status.ESTIMATED
            quantile = float(stats.t.ppf(0.975, GROUPS - 1))
    return Values.build(
        names,
        values,
        errors,
        method="regression",
        status=status,
        spent=len(measured),
        budget=budget,
        quantile=quantile,
        diagnostics={"unpaired_weight": unpaired},
    )
