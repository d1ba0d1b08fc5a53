"""Shapley values by walking random permutations, forward and backward."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from sampling.coalitions import empty, full
from sampling.permutations import chains
from sampling.streams import stream
from shapley.exact import exact_values, relabelled
from shapley.game import BudgetedGame, Game
from shapley.values import Status, Values

__all__ = ["permutation_values"]

MOST_WALKS = 2_000


def permutation_values(game: Game, budget: int, seed: int = 0, antithetic: bool = True) -> Values:
    """Estimates Shapley values as mean marginal contributions along random permutations.

    Coalitions that permutations share are paid for once. What is left when no further
    permutation surely fits is spent on parts of walks that start at a random place, so that every
    position is reached equally often (one coalition of an odd budget stays unspent when
    antithetic, since all come with their complement). Standard errors come from the spread of whole
    permutations, or of forward and reverse pairs when antithetic (Castro et al. 2009; Mitchell
    et al. 2022). The values are shifted evenly to add up to ``v(N) - v(empty)``.

    Args:
        game: any game.
        budget: distinct coalitions to evaluate, at least 2. Exact from ``2^n`` on.
        seed: of the permutations.
        antithetic: walk each permutation in reverse as well.

    Raises:
        ValueError: if the budget is below 2.
    """
    n = len(game.players)
    if budget < 2:
        raise ValueError(f"budget must be at least 2 coalitions (all and none), got {budget}")
    if budget >= 1 << n:
        return relabelled(exact_values(game), "permutation", budget)
    counted = BudgetedGame(game, budget)
    ends = counted(np.stack([full(n), empty(n)]))
    rng = stream(seed, "permutation values", n)

    per_unit = 2 if antithetic else 1
    units = [np.empty((0, n))]
    while (fit := int(counted.remaining) // (per_unit * (n - 1))) > 0:
        orders = np.argsort(rng.random((fit, n)), axis=1)
        if antithetic:
            orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, n)
        walked = _marginals(counted, orders).reshape(-1, per_unit, n)
        units.append(walked.mean(axis=1))
    means = np.concatenate(units)

    totals = per_unit * means.sum(axis=0)
    counts = np.full(n, float(per_unit * len(means)))
    for _ in range(MOST_WALKS):
        if counted.remaining < per_unit:
            break
        players, marginals = _partial_walk(counted, antithetic, rng)
        totals[players] += per_unit * marginals
        counts[players] += per_unit

    values = _efficient(totals, counts, float(ends[0] - ends[1]))
    errors, quantile, status = None, 1.96, Status.WITHOUT_ERRORS
    if (counts == 0).any():
        status = Status.UNDERDETERMINED
    elif len(means) > 1:
        errors = means.std(axis=0, ddof=1) / np.sqrt(len(means))
        quantile = float(stats.t.ppf(0.975, len(means) - 1))
        status = Status.ESTIMATED
    return Values.build(
        game.players,
        values,
        errors,
        method="permutation",
        status=status,
        spent=counted.spent,
        budget=budget,
        quantile=quantile,
        diagnostics={"permutations": float(per_unit * len(means))},
    )


def _marginals(game: Game, orders: Int[np.ndarray, "B n"]) -> Float[np.ndarray, "B n"]:
    """Returns the marginal contribution of each player in each permutation."""
    count, n = orders.shape
    utilities = game(chains(orders).reshape(-1, n)).reshape(count, n + 1)
    marginals = np.empty((count, n))
    np.put_along_axis(marginals, orders, np.diff(utilities, axis=1), axis=1)
    return marginals


def _partial_walk(
    game: BudgetedGame, antithetic: bool, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "k"], Float[np.ndarray, "k"]]:
    """Walks a permutation from a random place, round its end, as far as the budget reaches.

    The reverse permutation passes the complements of the prefixes, so an antithetic walk takes
    both at each step.
    """
    n = len(game.players)
    order = np.argsort(rng.random(n))
    start = int(rng.integers(n))
    prefixes: Bool[np.ndarray, "n+1 n"] = chains(order[None])[0]
    places = np.concatenate([np.arange(start, n + 1), np.arange(0, start + 1)])
    both = np.stack([prefixes, ~prefixes] if antithetic else [prefixes], axis=1)[places]
    price = np.array([game.unknown(pair) for pair in both])
    price[-1] = 0  # the walk ends where it began
    affordable = int((np.cumsum(price) <= game.remaining).sum())
    reached = places[:affordable]
    utilities = game(both[:affordable].reshape(-1, n)).reshape(affordable, both.shape[1])
    steps = np.flatnonzero(np.diff(reached) == 1)
    gains = utilities[steps + 1, 0] - utilities[steps, 0]
    if antithetic:
        gains = (gains + utilities[steps, 1] - utilities[steps + 1, 1]) / 2
    return order[reached[steps]], gains


def _efficient(
    totals: Float[np.ndarray, "n"], counts: Float[np.ndarray, "n"], span: float
) -> Float[np.ndarray, "n"]:
    """Returns means that add up to the span; players never reached share what is missing."""
    reached = counts > 0
    values = np.divide(totals, counts, out=np.zeros_like(totals), where=reached)
    missing = span - values.sum()
    if reached.all():
        return values + missing / len(values)
    values[~reached] = missing / (~reached).sum()
    return values
