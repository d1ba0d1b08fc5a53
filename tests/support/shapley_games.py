"""Games with closed-form or enumerable values, shared by the tests of the shapley room."""

from __future__ import annotations

import numpy as np

from sampling import keys, stream
from shapley import FunctionGame, TableGame


class CountingGame:
    """Counts rows, calls and distinct coalitions asked of a game."""

    def __init__(self, game):
        self.game = game
        self.players = game.players
        self.rows = 0
        self.calls = 0
        self.seen: set[bytes] = set()

    def __call__(self, coalitions):
        self.rows += len(coalitions)
        self.calls += 1
        self.seen.update(keys(coalitions))
        return self.game(coalitions)


class WholeGame:
    """Any game as a partial one that cannot be taken apart."""

    parts = 1

    def __init__(self, game):
        self.game = game
        self.players = tuple(game.players)

    def __call__(self, coalitions, parts):
        return self.game(coalitions)


def random_table(n, seed):
    return TableGame(stream(seed, "random table", n).normal(size=1 << n))


def additive(n, seed=0):
    worth = stream(seed, "additive", n).normal(size=n)
    return FunctionGame(lambda rows: rows @ worth + 0.7, n), worth


def pairwise(n, seed=0):
    """Returns a quadratic game, its Shapley values and its interaction matrix."""
    rng = stream(seed, "pairwise", n)
    linear, upper = rng.normal(size=n), np.triu(rng.normal(size=(n, n)), 1) * 0.5
    matrix = upper + upper.T

    def worth(rows):
        kept = rows.astype(float)
        return kept @ linear + 0.5 * ((kept @ matrix) * kept).sum(axis=1)

    return FunctionGame(worth, n), linear + matrix.sum(axis=1) / 2, matrix


def smooth(n, seed=0):
    """A model-like game: a saturating fall with removals, pairs and unequal players."""
    rng = stream(seed, "smooth", n)
    weight = rng.exponential(size=n) * 6 / n
    pairs = np.abs(np.triu(rng.normal(size=(n, n)), 1)) * 6 / n**2

    def worth(rows):
        gone = (~rows).astype(float)
        harm = gone @ weight + ((gone @ pairs) * gone).sum(axis=1)
        return -8.0 / (1.0 + np.exp(2.0 - harm))

    return FunctionGame(worth, n)


def glove():
    """Player 0 owns a left glove, players 1 and 2 a right one; values 2/3, 1/6, 1/6."""
    return FunctionGame(lambda rows: (rows[:, 0] & (rows[:, 1] | rows[:, 2])).astype(float), 3)


def majority(n):
    return FunctionGame(lambda rows: (2 * rows.sum(axis=1) > n).astype(float), n)


def unanimity(n, members):
    return FunctionGame(lambda rows: rows[:, list(members)].all(axis=1).astype(float), n)
