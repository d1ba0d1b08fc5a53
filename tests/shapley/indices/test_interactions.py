from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from shapley import (
    Status,
    estimate_interactions,
    exact_interactions,
    sampled_interactions,
)
from tests.support.shapley_games import (
    CountingGame,
    additive,
    pairwise,
    random_table,
    smooth,
    unanimity,
)


def by_definition(game):
    n = len(game.players)
    values = np.zeros((n, n))
    for i, j in itertools.combinations(range(n), 2):
        others = [player for player in range(n) if player not in (i, j)]
        for size in range(n - 1):
            weight = math.factorial(size) * math.factorial(n - size - 2) / math.factorial(n - 1)
            for members in itertools.combinations(others, size):
                rows = np.zeros((4, n), dtype=bool)
                rows[:, list(members)] = True
                rows[1, i] = rows[2, j] = rows[3, i] = rows[3, j] = True
                none, first, second, both = game(rows)
                values[i, j] += weight * (both - first - second + none)
    return values + values.T


@pytest.mark.parametrize("n", [2, 3, 6, 7])
def test_enumeration_follows_the_definition(n):
    game = random_table(n, 1)
    np.testing.assert_allclose(exact_interactions(game), by_definition(game), atol=1e-12)


def test_closed_forms():
    game, _, matrix = pairwise(9)
    np.testing.assert_allclose(exact_interactions(game), matrix, atol=1e-12)
    assert np.abs(exact_interactions(additive(8)[0])).max() < 1e-12
    triple = exact_interactions(unanimity(5, (0, 2, 3)))
    assert triple[0, 2] == pytest.approx(0.5)
    assert triple[0, 1] == pytest.approx(0.0)
    assert exact_interactions(random_table(1, 0)).tolist() == [[0.0]]
    with pytest.raises(ValueError, match="stops at 14"):
        exact_interactions(additive(15)[0])


def test_sampling_is_unbiased_with_honest_errors():
    game = CountingGame(random_table(8, 2))
    truth = exact_interactions(game.game)
    game.rows = 0
    off = ~np.eye(8, dtype=bool)
    # Fewer than 2^n calls force sampling on a game small enough to enumerate.
    runs = [estimate_interactions(game, 250, seed) for seed in range(1200)]
    assert game.rows == sum(run.spent for run in runs)
    assert all(run.status is Status.ESTIMATED and run.spent <= 250 for run in runs)
    values = np.stack([run.values for run in runs])
    spread = values.std(axis=0) / math.sqrt(len(runs))
    assert (np.abs(values.mean(axis=0) - truth)[off] < 4.5 * spread[off]).all()
    claimed = np.sqrt(np.mean([run.standard_errors**2 for run in runs], axis=0))[off]
    actual = values.std(axis=0)[off]
    assert 0.85 < np.median(claimed / actual) < 1.25


def test_sampling_large_games():
    game, _, matrix = pairwise(40)
    found = sampled_interactions(game, calls=5_000)
    np.testing.assert_allclose(found, matrix, atol=1e-9)
    assert (found == found.T).all()
    assert (np.diag(found) == 0).all()
    with pytest.raises(ValueError, match="at least 821"):
        sampled_interactions(game, calls=800)


def test_a_smooth_game_is_found_within_its_errors():
    game = smooth(12, 2)
    truth = exact_interactions(game)
    found = estimate_interactions(game, 4_000, seed=0)
    off = ~np.eye(12, dtype=bool)
    scores = (np.abs(found.values - truth) / np.where(off, found.standard_errors, 1.0))[off]
    assert (scores < 2).mean() > 0.85
    exact = estimate_interactions(game, 4_096)
    assert exact.status is Status.EXACT
    np.testing.assert_allclose(exact.values, truth)
