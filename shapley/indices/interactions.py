"""Pairwise Shapley interactions: by how much two players are worth more together than apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from sampling.streams import stream
from shapley.game import Game, TableGame, evaluate, tabulate
from shapley.indices.exact import sizes_of_subsets
from shapley.values import Status

__all__ = ["Interactions", "estimate_interactions", "exact_interactions", "sampled_interactions"]

MOST_PLAYERS = 14
ROWS_A_CALL = 131_072


@dataclass(frozen=True, eq=False)
class Interactions:
    """Pairwise interactions of the players of a game.

    Attributes:
        players: ``n`` names.
        values: symmetric, zero on the diagonal, in units of the utility.
        standard_errors: of each entry; zero when exact, NaN from a single sample.
        spent: rows asked of the game.
        status: ``EXACT`` or ``ESTIMATED``.
    """

    players: tuple[str, ...]
    values: Float[np.ndarray, "n n"]
    standard_errors: Float[np.ndarray, "n n"]
    spent: int
    status: Status


def exact_interactions(game: Game | Float[np.ndarray, "M"]) -> Float[np.ndarray, "n n"]:
    """Returns the Shapley interaction index of all pairs by enumeration.

    ``I_ij = sum over S without i, j of s! (n-s-2)! / (n-1)! (v(S+ij) - v(S+i) - v(S+j) + v(S))``
    (Grabisch & Roubens 1999).

    Args:
        game: a game of at most 14 players, or its table of utilities (bit ``i`` is player ``i``).

    Raises:
        ValueError: if the game has more players.
    """
    game = TableGame(game) if isinstance(game, np.ndarray) else game
    n = len(game.players)
    if n > MOST_PLAYERS:
        raise ValueError(
            f"game has {n} players, enumeration of pairs stops at {MOST_PLAYERS};"
            " use sampled_interactions"
        )
    values = np.zeros((n, n))
    if n < 2:
        return values
    table = tabulate(game)
    weights = np.array([1 / ((n - 1) * math.comb(n - 2, size)) for size in range(n - 1)])
    by_rest = weights[sizes_of_subsets(n - 2)]
    for i in range(n):
        for j in range(i + 1, n):
            cube = table.reshape(-1, 2, 1 << (j - i - 1), 2, 1 << i)
            second = cube[:, 1, :, 1] - cube[:, 1, :, 0] - cube[:, 0, :, 1] + cube[:, 0, :, 0]
            values[i, j] = values[j, i] = by_rest @ second.ravel()
    return values


def sampled_interactions(
    game: Game, calls: int = 2_000_000, seed: int = 0
) -> Float[np.ndarray, "n n"]:
    """Returns the values of :func:`estimate_interactions`.

    Args:
        game: a cheap one.
        calls: most evaluations of the game.
        seed: of the sample.
    """
    return estimate_interactions(game, calls, seed).values


def estimate_interactions(game: Game, calls: int = 2_000_000, seed: int = 0) -> Interactions:
    """Estimates the Shapley interaction index of all pairs of a cheap game, without bias.

    Draw a coalition ``B`` of uniform size, uniform in its size, and evaluate it with each player
    and each pair flipped. For every pair this is one second difference at
    ``S = B without i, j``, and ``S`` then has exactly the law of the interaction index (its
    weight ``1 / ((n-1) C(n-2, s))`` is the sum of the four chances of ``B`` being ``S``, ``S+i``,
    ``S+j`` or ``S+ij``). So ``1 + n + n(n-1)/2`` calls serve all pairs at once. Sizes are drawn in
    rotation with random starts, which leaves the law alone and takes variance away.

    Args:
        game: a game that answers large batches fast; up to 14 players are enumerated if
            ``2^n`` calls are allowed.
        calls: the most rows to ask for.
        seed: of the sampling.

    Raises:
        ValueError: if not even one coalition with its flips fits into the calls.
    """
    n = len(game.players)
    if n <= MOST_PLAYERS and 1 << n <= calls:
        zero = np.zeros((n, n))
        return Interactions(game.players, exact_interactions(game), zero, 1 << n, Status.EXACT)
    first, second = np.triu_indices(n, k=1)
    price = 1 + n + len(first)
    if calls < price:
        raise ValueError(f"calls must be at least {price} for {n} players, got {calls}")
    rng = stream(seed, "interactions", n)
    flips = np.zeros((price, n), dtype=bool)
    flips[1 + np.arange(n), np.arange(n)] = True
    flips[1 + n + np.arange(len(first)), first] = True
    flips[1 + n + np.arange(len(first)), second] = True

    samples = calls // price
    bases = _bases(n, samples, rng)
    total, squares = np.zeros(len(first)), np.zeros(len(first))
    step = max(1, ROWS_A_CALL // price)
    for at in range(0, samples, step):
        part = bases[at : at + step]
        rows = (part[:, None, :] ^ flips[None]).reshape(-1, n)
        utilities = evaluate(game, rows).reshape(len(part), price)
        alone, single, both = np.split(utilities, [1, 1 + n], axis=1)
        signs = np.where(part[:, first] == part[:, second], 1.0, -1.0)
        differences = signs * (both - single[:, first] - single[:, second] + alone)
        total += differences.sum(axis=0)
        squares += (differences**2).sum(axis=0)
    mean = total / samples
    errors = np.full(len(first), np.nan)
    if samples > 1:
        spread = np.maximum(squares / samples - mean**2, 0.0) / (samples - 1)
        errors = np.sqrt(spread)
    return Interactions(
        game.players,
        _symmetric(n, mean),
        _symmetric(n, errors),
        samples * price,
        Status.ESTIMATED,
    )


def _bases(n: int, samples: int, rng: np.random.Generator) -> Bool[np.ndarray, "K n"]:
    """Returns coalitions whose sizes are uniform on 0 to ``n``, evenly spread over the sample."""
    places = (np.arange(samples) + rng.random()) / samples
    sizes = rng.permutation(np.minimum((places * (n + 1)).astype(np.int64), n))
    ranks = np.argsort(rng.random((samples, n)), axis=1)
    return ranks < sizes[:, None]


def _symmetric(n: int, upper: Float[np.ndarray, "P"]) -> Float[np.ndarray, "n n"]:
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, k=1)] = upper
    return matrix + matrix.T
