from __future__ import annotations

import time

import numpy as np
import pytest

from sampling import campaign_design, enumerate_all, keys, stream
from shapley import (
    FunctionGame,
    Status,
    corrected_values,
    exact_values,
    fit_regression,
    surrogate_values,
)
from tests.support.shapley_games import CountingGame, additive, pairwise, random_table, smooth


def nmse(values, truth):
    return ((values - truth) ** 2).sum() / (truth**2).sum()


def imperfect(game, scale, seed=0):
    """A surrogate of a game: right up to a smooth random error of the given size."""
    n = len(game.players)
    rng = stream(seed, "imperfect", n)
    waves, phases = rng.normal(size=(n, 6)) * 0.8, rng.uniform(0, 6, size=6)

    def guess(rows):
        return game(rows) + scale * np.sin(rows @ waves + phases).mean(axis=1)

    return FunctionGame(guess, game.players)


def test_a_small_surrogate_is_enumerated():
    game = CountingGame(random_table(8, 0))
    result = surrogate_values(game, 8)
    np.testing.assert_allclose(result.values, exact_values(game.game).values, atol=1e-12)
    assert (result.status, result.spent) == (Status.SURROGATE, 256)
    with pytest.raises(ValueError, match="has 8 players"):
        surrogate_values(game, 9)
    with pytest.raises(ValueError, match="at least 256"):
        surrogate_values(game, 8, budget_of_calls=100)


@pytest.mark.parametrize("n", [12, 13])
def test_sampled_surrogate_values_and_their_errors(n):
    game = CountingGame(smooth(n, 3))
    truth = exact_values(game.game).values
    game.rows = 0
    result = surrogate_values(game, n, budget_of_calls=3000, seed=1)
    assert game.rows == result.spent <= 3000
    assert nmse(result.values, truth) < 1e-3
    inside = [
        (found.lower <= truth) & (truth <= found.upper)
        for found in (surrogate_values(game, n, 2000, seed=s) for s in range(15))
    ]
    assert np.mean(inside) > 0.88
    assert result.values.sum() == pytest.approx(truth.sum())


def test_32_players_reach_one_percent_in_seconds():
    game, values, _ = pairwise(32)
    start = time.perf_counter()
    result = surrogate_values(smooth(32), 32, budget_of_calls=200_000)
    assert time.perf_counter() - start < 10
    assert result.standard_errors.max() < 0.01 * np.abs(result.values).max()
    closed = surrogate_values(game, 32, budget_of_calls=20_000)
    np.testing.assert_allclose(closed.values, values, atol=1e-8)


def test_correction_is_exact_on_all_coalitions_and_for_additive_errors():
    game, n = random_table(7, 3), 7
    bad = imperfect(game, 3.0)
    rows = enumerate_all(n)
    result = corrected_values(rows, game(rows), bad(rows), surrogate_values(bad, n))
    np.testing.assert_allclose(result.values, exact_values(game).values, atol=1e-9)
    assert result.status is Status.EXACT

    game, n = smooth(10), 10
    tilt, _ = additive(10, seed=5)
    tilted = FunctionGame(lambda rows: game(rows) + tilt(rows), game.players)
    rows = campaign_design(n, 60, 4, seed=0).coalitions
    result = corrected_values(rows, game(rows), tilted(rows), surrogate_values(tilted, n))
    np.testing.assert_allclose(result.values, exact_values(game).values, atol=1e-9)
    assert result.status is Status.CORRECTED_WITHOUT_ERRORS
    assert np.isnan(result.standard_errors).all()


def test_correction_beats_regression_and_surrogate_with_honest_intervals():
    n, inside, ratios = 11, [], []
    for seed in range(12):
        game = smooth(n, seed % 3)
        truth = exact_values(game).values
        surrogate = imperfect(game, 0.3, seed)
        own = surrogate_values(surrogate, n)
        rows = campaign_design(n, 250, 5, seed=seed).coalitions
        guess = surrogate(rows)
        result = corrected_values(rows, game(rows), guess, own, out_of_fold=guess, seed=seed)
        assert result.status is Status.CORRECTED
        assert result.diagnostics["out_of_fold_r2"] > 0.9
        assert result.values.sum() == pytest.approx(truth.sum())
        plain = fit_regression(rows, game(rows), n)
        ratios.append(
            [nmse(result.values, truth) / nmse(other.values, truth) for other in (plain, own)]
        )
        inside.append((result.lower <= truth) & (truth <= result.upper))
    assert (np.median(ratios, axis=0) < 0.5).all()
    assert np.mean(inside) > 0.88


def test_a_useless_surrogate_is_refused_openly():
    game, n = smooth(10), 10
    noise = stream(0, "noise").normal(size=1 << n)
    useless = FunctionGame(lambda rows: noise[rows @ (1 << np.arange(n))], game.players)
    rows = campaign_design(n, 200, 4, seed=0).coalitions
    guess = useless(rows)
    result = corrected_values(rows, game(rows), guess, surrogate_values(useless, n), guess)
    plain = fit_regression(rows, game(rows), n)
    assert result.status is Status.FELL_BACK
    assert result.diagnostics["surrogate_weight"] == 0.0
    np.testing.assert_array_equal(result.values, plain.values)
    np.testing.assert_array_equal(result.standard_errors, plain.standard_errors)


def test_an_overconfident_surrogate_gets_less_weight():
    game, n = smooth(10), 10
    loud = FunctionGame(lambda rows: 1.25 * game(rows), game.players)
    rows = campaign_design(n, 200, 4, seed=0).coalitions
    guess = loud(rows)
    result = corrected_values(rows, game(rows), guess, surrogate_values(loud, n), guess)
    assert result.status is Status.CORRECTED
    assert result.diagnostics["surrogate_weight"] == pytest.approx(1 / 1.25)
    np.testing.assert_allclose(result.values, exact_values(game).values, atol=1e-9)


def test_in_sample_memory_does_not_hide_from_the_interval():
    # A surrogate that remembers the measured coalitions has no in-sample residual at all.
    game, n = smooth(11, 1), 11
    rows = campaign_design(n, 200, 5, seed=0).coalitions
    seen = set(keys(rows))
    rough = imperfect(game, 0.5)

    def remember(batch):
        known = np.array([key in seen for key in keys(batch)])
        return np.where(known, game(batch), rough(batch))

    memory = FunctionGame(remember, game.players)
    own = surrogate_values(memory, n)
    result = corrected_values(rows, game(rows), memory(rows), own, out_of_fold=rough(rows))
    truth = exact_values(game).values
    assert result.status is Status.CORRECTED
    assert result.diagnostics["cross_fitted_centre"] == 1.0
    assert ((result.lower <= truth) & (truth <= result.upper)).mean() > 0.8


def test_inputs_are_checked():
    game, n = smooth(6), 6
    rows = campaign_design(n, 40, 3, seed=0).coalitions
    own = surrogate_values(game, n)
    with pytest.raises(ValueError, match="out_of_fold must be 40 finite"):
        corrected_values(rows, game(rows), game(rows), own, np.full(40, np.nan))
    with pytest.raises(ValueError, match="predictions must be 40"):
        corrected_values(rows, game(rows), game(rows)[1:], own)
    with pytest.raises(ValueError, match="add up to"):
        corrected_values(rows, game(rows), 2 * game(rows), own)
