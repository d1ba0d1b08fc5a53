from __future__ import annotations

import numpy as np
import pytest

from shapley import Status, exact_restricted, exact_values, restricted_values, tabulate
from tests.support.shapley_games import CountingGame, additive, pairwise, random_table, smooth


@pytest.mark.parametrize("n", [1, 2, 7, 9])
def test_enumerated_strata_are_exact(n):
    game = CountingGame(random_table(n, 0))
    result = None
    for r in range(1, n + 1):
        game.rows = 0
        result = restricted_values(game, r)
        expected = exact_restricted(game.game, r).values
        np.testing.assert_allclose(result.values, expected, atol=1e-9)
        assert (result.status, result.kind) == (Status.EXACT, f"restricted:{r}")
        assert game.rows == result.spent
    assert result is not None
    np.testing.assert_allclose(result.values, exact_values(game.game).values, atol=1e-9)


@pytest.mark.parametrize("r", [6, 14])
def test_sampled_strata_come_near_with_honest_errors(r):
    game = smooth(14, 1)
    truth = exact_restricted(tabulate(game), r).values
    inside = []
    for seed in range(12):
        result = restricted_values(game, r, budget_of_calls=6000, seed=seed)
        assert result.status is Status.ESTIMATED
        assert result.spent <= 6000
        assert ((result.values - truth) ** 2).sum() < 1e-3 * (truth**2).sum()
        inside.append((result.lower <= truth) & (truth <= result.upper))
    assert np.mean(inside) > 0.88


def test_additive_games_are_exact_from_any_sample():
    game, worth = additive(40)
    result = restricted_values(game, 12, budget_of_calls=30_000)
    np.testing.assert_allclose(result.values, worth, atol=1e-8)


def test_pairwise_games_have_a_closed_form():
    # With j removals, i's partner is kept with chance (n-j)/(n-1): the pair counts that often.
    game, values, matrix = pairwise(30)
    r = 6
    kept = np.mean([(30 - j) / 29 for j in range(1, r + 1)])
    expected = values + matrix.sum(axis=1) * (kept - 0.5)
    result = restricted_values(game, r, budget_of_calls=200_000)
    assert np.abs(result.values - expected).max() < 5 * result.standard_errors.max()
    assert result.standard_errors.max() < 0.01 * np.abs(expected).max()


def test_eighty_players_fit():
    result = restricted_values(smooth(80), 20, budget_of_calls=100_000)
    assert result.standard_errors.max() < 0.02 * result.values.max()


def test_limits_are_named():
    with pytest.raises(ValueError, match="between 1 and n"):
        restricted_values(smooth(6), 7)
    with pytest.raises(ValueError, match="allow more calls"):
        restricted_values(smooth(30), 10, budget_of_calls=5_000)
