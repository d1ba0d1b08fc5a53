from __future__ import annotations

import numpy as np
import pytest

from shapley import Status, banzhaf_values, exact_banzhaf
from tests.support.shapley_games import (
    CountingGame,
    additive,
    majority,
    pairwise,
    random_table,
    smooth,
)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_a_small_game_is_enumerated(n):
    game = CountingGame(random_table(n, 0))
    result = banzhaf_values(game)
    np.testing.assert_allclose(result.values, exact_banzhaf(game.game).values, atol=1e-12)
    assert (result.status, result.kind) == (Status.EXACT, "banzhaf")
    assert game.rows == result.spent == 2**n


def test_known_values():
    # In a majority of 5, a player decides when just 2 of the other 4 are kept: 6 of 16.
    np.testing.assert_allclose(banzhaf_values(majority(5)).values, np.full(5, 6 / 16))
    # With 31 players: C(30, 15) of 2^30.
    found = banzhaf_values(majority(31), 100_000)
    assert np.abs(found.values - 0.144464).max() < 4.5 * found.standard_errors.max() < 0.02


def test_linear_and_pairwise_parts_have_a_closed_form():
    game, worth = additive(40)
    found = banzhaf_values(game, 4_000)
    np.testing.assert_allclose(found.values, worth, atol=1e-8)
    game, values, _ = pairwise(30)
    found = banzhaf_values(CountingGame(game), 20_000, seed=3)
    np.testing.assert_allclose(found.values, values, atol=1e-8)


def test_sampled_values_come_with_honest_errors():
    game = CountingGame(smooth(14, 1))
    truth = exact_banzhaf(game.game).values
    inside, last = [], np.empty(0)
    for seed in range(15):
        game.rows = 0
        result = banzhaf_values(game, 5_001, seed=seed)
        assert game.rows == result.spent == 5_000
        assert result.status is Status.ESTIMATED
        last = result.values
        inside.append((result.lower <= truth) & (truth <= result.upper))
    assert np.mean(inside) > 0.88
    again = banzhaf_values(game, 5_001, seed=14)
    np.testing.assert_array_equal(again.values, last)


def test_too_few_calls_are_refused():
    with pytest.raises(ValueError, match="at least 1200 for 30 players"):
        banzhaf_values(smooth(30), 1_000)
