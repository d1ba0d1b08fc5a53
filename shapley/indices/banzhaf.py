"""Banzhaf values of a cheap game: marginal contributions to a random half of the others."""

from __future__ import annotations

import numpy as np

from sampling.streams import stream
from shapley.game import Game, evaluate
from shapley.indices.exact import MOST_PLAYERS, exact_banzhaf, relabelled
from shapley.regression.weighting import GROUPS, gram, jackknife_variance, solve
from shapley.values import Status, Values

__all__ = ["banzhaf_values"]

CHUNK = 32_768


def banzhaf_values(game: Game, budget_of_calls: int = 1 << 20, seed: int = 0) -> Values:
    """Returns Banzhaf values, by enumeration if ``2^n`` calls are allowed, else by sampling.

    The Banzhaf value of a player is the mean utility of all coalitions with the player less that
    of all without. Each drawn coalition and its complement inform every player (maximum sample
    reuse, Wang & Jia 2023), through the least squares fit of the utility to the indicators of the
    players, whose slopes are the Banzhaf values (Hammer & Holzman 1992): only the part of the
    utility that no additive game explains is left as noise. Standard errors leave out one of 20
    groups of pairs. Banzhaf values do not add up to ``v(N) - v(empty)``.

    Args:
        game: a game that answers large batches fast.
        budget_of_calls: the most rows to ask for, at least ``40 n`` unless ``2^n`` is less.
        seed: of the sampling.

    Raises:
        ValueError: if too few calls are allowed.
    """
    n = len(game.players)
    least = min(40 * n, 1 << n)
    if budget_of_calls < least:
        raise ValueError(
            f"budget_of_calls must be at least {least} for {n} players, got {budget_of_calls}"
        )
    if n <= MOST_PLAYERS and 1 << n <= budget_of_calls:
        return relabelled(exact_banzhaf(game), "banzhaf", budget_of_calls)
    rng = stream(seed, "banzhaf", n)
    pairs = budget_of_calls // 2
    sides = []
    for group in range(GROUPS):
        left, right = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
        count = pairs // GROUPS + (group < pairs % GROUPS)
        for at in range(0, count, CHUNK):
            half = rng.random((min(CHUNK, count - at), n)) < 0.5
            rows = np.concatenate([half, ~half])
            columns = np.concatenate([rows - 0.5, np.ones((len(rows), 1))], axis=1)
            more = gram(columns, evaluate(game, rows), np.ones(len(rows)))
            left, right = left + more[0], right + more[1]
        sides.append((left, right))
    left = np.sum([side for side, _ in sides], axis=0)
    right = np.sum([side for _, side in sides], axis=0)
    values = solve(left, right)[:n]
    leave_out = np.stack([solve(left - one, right - other)[:n] for one, other in sides])
    return Values.build(
        game.players,
        values,
        np.sqrt(jackknife_variance(leave_out, values, 0.0)),
        method="banzhaf",
        kind="banzhaf",
        status=Status.ESTIMATED,
        spent=2 * pairs,
        budget=budget_of_calls,
    )
