"""Shapley values from means over strata: coalitions of one size with and without a player."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from sampling.coalitions import empty, full
from sampling.strata import even_quotas, stratified, stratum_size
from shapley.exact import exact_values, relabelled
from shapley.game import BudgetedGame, Game
from shapley.values import Status, Values

__all__ = ["stratified_values"]


def stratified_values(game: Game, budget: int, seed: int = 0) -> Values:
    """Estimates Shapley values by stratum-wise marginal contributions.

    The mean marginal contribution of a player at size ``s`` is the mean utility of coalitions of
    size ``s + 1`` with the player less that of coalitions of size ``s`` without, so each
    evaluated coalition informs every player (Kolpaczki et al., AAAI 2024). Sizes get equal shares
    of the budget; small ones are enumerated. Where a sample has no coalition with (or without) a
    player, the mean of the size stands in. The values are shifted evenly to add up to
    ``v(N) - v(empty)``.

    Args:
        game: any game.
        budget: distinct coalitions to evaluate, at least 2. All of it is used; exact from
            ``2^n`` on.
        seed: of the design.

    Raises:
        ValueError: if the budget is below 2.
    """
    n = len(game.players)
    if budget < 2:
        raise ValueError(f"budget must be at least 2 coalitions (all and none), got {budget}")
    if budget >= 1 << n:
        return relabelled(exact_values(game), "stratified", budget)
    inner = stratified(n, even_quotas(n, range(1, n), budget - 2), seed)
    counted = BudgetedGame(game, budget)
    utilities = counted(np.concatenate([full(n)[None], empty(n)[None], inner]))
    span, measured = utilities[0] - utilities[1], utilities[2:]

    sizes = inner.sum(axis=1)
    values, variance = np.full(n, span), np.zeros(n)
    imputed = False
    for size in range(1, n):
        here = sizes == size
        if not here.any():
            imputed, variance = True, variance + np.nan
            continue
        sample, rows = measured[here], inner[here].astype(float)
        share = len(sample) / stratum_size(n, n - size)
        centre, spread = sample.mean(), sample.var(ddof=1) if len(sample) > 1 else np.nan
        for sign, member in ((1.0, rows), (-1.0, 1.0 - rows)):
            counts = member.sum(axis=0)
            mean, var = _moments(member, counts, sample - centre, float(spread))
            values = values + sign * mean
            imputed = imputed or bool((counts == 0).any())
            if share < 1.0:
                variance = variance + (1.0 - share) * var
    values = values / n
    values += (span - values.sum()) / n
    errors = np.sqrt(variance) / n
    finite = bool(np.isfinite(errors).all())
    status = Status.ESTIMATED if finite else Status.WITHOUT_ERRORS
    return Values.build(
        game.players,
        values,
        errors if finite else None,
        method="stratified",
        status=status,
        spent=counted.spent,
        budget=budget,
        diagnostics={"empty_strata": float(imputed)},
    )


def _moments(
    member: Float[np.ndarray, "k n"],
    counts: Float[np.ndarray, "n"],
    centred: Float[np.ndarray, "k"],
    spread: float,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Returns for each player the mean over its rows and the variance of that mean.

    Players with fewer than two rows borrow the variance of the whole size.
    """
    some = np.maximum(counts, 1.0)
    mean = (centred @ member) / some
    squares = (centred**2) @ member - some * mean**2
    own = np.maximum(squares, 0.0) / np.maximum(counts - 1.0, 1.0)
    return mean, np.where(counts > 1, own, spread) / some
