"""Exact values of small games, by enumerating every coalition."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from shapley.game import Game, TableGame, tabulate
from shapley.values import Status, Values

__all__ = ["exact_banzhaf", "exact_restricted", "exact_values"]

MOST_PLAYERS = 22


def exact_values(game: Game, budget: int | None = None) -> Values:
    """Returns the Shapley values of a game from all of its ``2^n`` coalitions.

    Cost: ``2^n`` evaluations and ``O(n 2^n)`` arithmetic.

    Raises:
        ValueError: if the budget is below ``2^n`` or the game has more than 22 players.
    """
    n = len(game.players)
    weights = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    return _enumerated(game, weights, "shapley", budget)


def exact_banzhaf(game: Game, budget: int | None = None) -> Values:
    """Returns the Banzhaf values: marginal contributions with equal weight on all coalitions.

    Raises:
        ValueError: if the budget is below ``2^n`` or the game has more than 22 players.
    """
    n = len(game.players)
    return _enumerated(game, np.full(n, 0.5 ** (n - 1)), "banzhaf", budget)


def exact_restricted(game_table: Game | Float[np.ndarray, "M"], r: int) -> Values:
    """Returns the size-restricted values: only coalitions with at most ``r`` removals count.

    The value of player ``i`` is the mean over ``j = 1 .. r`` of the mean marginal contribution
    ``v(S + i) - v(S)`` over coalitions ``S`` of size ``n - j`` without ``i``. With ``r = n`` it is
    the Shapley value; the values add up to ``v(N) - v(empty)`` in that case only.

    Args:
        game_table: a game, or its table of ``2^n`` utilities (bit ``i`` is player ``i``).
        r: the most players removed, 1 to ``n``.

    Raises:
        ValueError: if ``r`` is out of range or the game has more than 22 players.
    """
    game = TableGame(game_table) if isinstance(game_table, np.ndarray) else game_table
    n = len(game.players)
    if not 1 <= r <= n:
        raise ValueError(f"r must be between 1 and n = {n} removals, got {r}")
    sizes = np.arange(n)
    weights = np.array([1 / (r * math.comb(n - 1, size)) for size in sizes]) * (sizes >= n - r)
    return _enumerated(game, weights, f"restricted:{r}", None)


def relabelled(values: Values, method: str, budget: int | None) -> Values:
    """Returns exact values under the name of the estimator that found them affordable.

    Args:
        values: exact ones.
        method: name of the estimator.
        budget: evaluations that it was given; None for no limit.
    """
    return dataclasses.replace(values, method=method, budget=budget)


def _enumerated(game: Game, weights: Float[np.ndarray, "n"], kind: str, budget: int | None):
    n = len(game.players)
    if n > MOST_PLAYERS:
        raise ValueError(
            f"game has {n} players, enumeration stops at {MOST_PLAYERS}; use a sampling estimator"
        )
    if budget is not None and budget < 1 << n:
        raise ValueError(
            f"budget must be at least 2^n = {1 << n} coalitions for exact values, got {budget};"
            " use a sampling estimator"
        )
    values = weighted_marginals(tabulate(game), weights)
    return Values.build(
        game.players,
        values,
        np.zeros(n),
        method="exact",
        kind=kind,
        status=Status.EXACT,
        spent=1 << n,
        budget=budget,
    )


def weighted_marginals(
    table: Float[np.ndarray, "M"], weights: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """Returns ``sum over S without i of weights[|S|] (v(S + i) - v(S))`` for each player ``i``."""
    n = table.size.bit_length() - 1
    by_rest = weights[sizes_of_subsets(n - 1)]
    values = np.empty(n)
    for player in range(n):
        split = table.reshape(-1, 2, 1 << player)
        values[player] = by_rest @ (split[:, 1] - split[:, 0]).ravel()
    return values


def sizes_of_subsets(n: int) -> np.ndarray:
    """Returns the number of set bits of ``0 .. 2^n - 1``."""
    sizes = np.zeros(1, dtype=np.int64)
    for _ in range(n):
        sizes = np.concatenate([sizes, sizes + 1])
    return sizes
