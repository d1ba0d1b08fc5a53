"""Size-restricted values of a cheap game: only coalitions near the full one count."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from sampling.coalitions import full
from sampling.strata import draw_stratum, even_quotas, random_of_sizes, stratum_size
from sampling.streams import stream
from shapley.game import Game, evaluate
from shapley.indices.monte_carlo import CALLS_A_PLAYER, EXACT_CALLS
from shapley.regression.weighting import GROUPS, gram, jackknife_variance, solve
from shapley.values import Status, Values

__all__ = ["restricted_values"]


CALLS_A_STRATUM = 48  # and a player, without a budget


def restricted_values(
    game: Game, r: int, budget_of_calls: int | None = None, seed: int = 0
) -> Values:
    """Returns size-restricted values: mean marginal contributions with at most ``r`` removals.

    The value of player ``i`` is the mean over ``j = 1 .. r`` of the mean of ``v(S + i) - v(S)``
    over coalitions ``S`` of size ``n - j`` without ``i``; every size weighs the same. With
    ``r = n`` it is the Shapley value.

    In one stratum (``j`` removals) let ``b_i`` be the coefficients, adding up to 0, of the least
    squares fit of the utility to the indicators of removal. For a uniform stratum the mean
    utility with player ``i`` removed differs from the stratum's mean by
    ``(1 - j/n) n/(n-1) b_i`` and with ``i`` kept by ``-(j/n) n/(n-1) b_i``. The sum over strata
    telescopes to ``(v(N) - mean_r - n/(n-1) (sum_{j<r} b_ij + (1 - r/n) b_ir)) / r``. Strata that
    fit into their share of the calls are enumerated, which makes their part exact; in the others
    the fit leaves only the non-linear part of the utility as noise. Standard errors leave out
    one of 20 groups of each sampled stratum.

    Args:
        game: a game that answers large batches fast, of up to 128 players or so.
        r: the most players removed, 1 to ``n``.
        budget_of_calls: the most rows to ask for, at least ``40 n`` for each stratum too large
            to be enumerated; when omitted, 2048 a player or more where that takes more, and
            all coalitions of up to 17 players.
        seed: of the sampling.

    Raises:
        ValueError: if ``r`` is out of range or too few calls are allowed.
    """
    n = len(game.players)
    if not 1 <= r <= n:
        raise ValueError(f"r must be between 1 and n = {n} removals, got {r}")
    if budget_of_calls is None:
        budget_of_calls = max(CALLS_A_PLAYER * n, CALLS_A_STRATUM * n * r + 1)
        budget_of_calls = max(budget_of_calls, EXACT_CALLS if 1 << n <= EXACT_CALLS else 0)
    quotas = even_quotas(n, range(1, r + 1), budget_of_calls - 1)
    for removed, quota in quotas.items():
        if quota < min(40 * n, stratum_size(n, removed)):
            raise ValueError(
                f"budget_of_calls of {budget_of_calls} leaves {quota} calls for the stratum of"
                f" {removed} removals, which needs {40 * n}; allow more calls or lower r"
            )
    values = np.full(n, float(evaluate(game, full(n)[None])[0]))
    variance = np.zeros(n)
    for removed, quota in quotas.items():
        slope = np.eye(n) * (1.0 if removed < r else 1.0 - r / n) * (n / max(n - 1, 1))
        combine = np.concatenate([slope, np.full((n, 1), float(removed == r))], axis=1)
        rng = stream(seed, "restricted", n, removed)
        part, spread = _stratum(game, n, removed, quota, combine, rng)
        values -= part
        variance += spread
    exact = all(quota == stratum_size(n, removed) for removed, quota in quotas.items())
    return Values.build(
        game.players,
        values / r,
        np.sqrt(variance) / r,
        method="restricted",
        kind=f"restricted:{r}",
        status=Status.EXACT if exact else Status.ESTIMATED,
        spent=1 + sum(quotas.values()),
        budget=budget_of_calls,
    )


def _stratum(
    game: Game,
    n: int,
    removed: int,
    quota: int,
    combine: Float[np.ndarray, "n n+1"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Returns what a stratum takes from the values and the variance of that."""
    if quota == stratum_size(n, removed):
        rows = draw_stratum(n, removed, quota, rng)
        return combine @ solve(*_sides(game, rows)), np.zeros(n)
    sides = []
    for group in range(GROUPS):
        count = quota // GROUPS + (group < quota % GROUPS)
        sides.append(_sides(game, random_of_sizes(n, np.full(count, n - removed), rng)))
    left, right = (sum(side[part] for side in sides) for part in (0, 1))
    centre = combine @ solve(np.asarray(left), np.asarray(right))
    leave_out = np.stack([combine @ solve(left - out, right - gone) for out, gone in sides])
    return centre, jackknife_variance(leave_out, centre, 0.0)


def _sides(
    game: Game, rows: Bool[np.ndarray, "B n"]
) -> tuple[Float[np.ndarray, "n+1 n+1"], Float[np.ndarray, "n+1"]]:
    """Returns normal equations of utility on centred indicators of removal and a constant."""
    gone = ~rows
    share = gone[0].mean()
    columns = np.concatenate([gone - share, np.ones((len(rows), 1))], axis=1)
    return gram(columns, evaluate(game, rows), np.ones(len(rows)))
