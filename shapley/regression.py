"""Shapley values by weighted regression on complement pairs (leverage design)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from sampling.coalitions import empty, full
from sampling.pairs import paired
from shapley.exact import exact_values, relabelled
from shapley.game import BudgetedGame, Game, default_players
from shapley.values import Status, Values
from shapley.weighting import (
    GROUPS,
    Rows,
    complement_groups,
    gram,
    identified,
    jackknife_variance,
    solve,
    split_rows,
)

__all__ = ["fit_regression", "regression_values"]


def regression_values(game: Game, budget: int, seed: int = 0) -> Values:
    """Estimates Shapley values from ``budget`` coalitions of a game.

    Measures the empty and the full coalition and complement pairs without replacement with equal
    counts per size, then solves the weighted regression of :mod:`shapley.weighting` (Musco &
    Witter, ICLR 2025, with fixed counts per size). Exact when the budget reaches ``2^n``.

    Args:
        game: any game.
        budget: distinct coalitions to evaluate, at least 2. All of it is used.
        seed: of the design.

    Raises:
        ValueError: if the budget is below 2.
    """
    n = len(game.players)
    if budget < 2:
        raise ValueError(f"budget must be at least 2 coalitions (all and none), got {budget}")
    if budget >= 1 << n:
        return relabelled(exact_values(game), "regression", budget)
    inner = paired(n, budget - 1, seed)[: budget - 2]  # an odd budget ends in half a pair
    counted = BudgetedGame(game, budget)
    coalitions = np.concatenate([full(n)[None], empty(n)[None], inner])
    utilities = counted(coalitions)
    return fit_regression(coalitions, utilities, n, players=game.players, budget=budget, seed=seed)


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
        found = _jackknife(rows, np.asarray(coalitions), targets, unpaired, values - span / n, seed)
        if found is not None:
            errors, quantile = found
            status = Status.ESTIMATED
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


def _jackknife(
    rows: Rows,
    coalitions: Bool[np.ndarray, "m n"],
    targets: Float[np.ndarray, "k"],
    unpaired: float,
    centre: Float[np.ndarray, "n"],
    seed: int,
) -> tuple[Float[np.ndarray, "n"], float] | None:
    """Returns standard errors and their t quantile, or None if groups cannot be left out."""
    n = len(centre)
    groups = complement_groups(coalitions[rows.inner], GROUPS, seed)
    if groups.max(initial=-1) < GROUPS - 1:
        return None
    leave_out = np.empty((GROUPS, n))
    for group in range(GROUPS):
        kept = groups != group
        weights = rows.weights(kept, unpaired)[kept]
        left, right = gram(rows.columns[kept], targets[kept], weights)
        if not identified(left):
            return None
        leave_out[group] = solve(left, right)[:n]
    share = min(1.0, len(coalitions) / 2.0**n)
    variance = jackknife_variance(leave_out, centre, share)
    return np.sqrt(variance), float(stats.t.ppf(0.975, GROUPS - 1))
