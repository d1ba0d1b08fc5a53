"""The default estimator: Bayesian quadrature on coalitions that are chosen for it."""

import numpy as np
import pytest

from sampling import empty, enumerate_all, full, keys
from shapley import (
    FunctionGame,
    Status,
    TableGame,
    advance,
    estimate,
    exact_values,
    regression_values,
    start,
)
from shapley.estimator import State
from surrogate.process.adaptive import AdaptiveValues, fit_values


def layered(n, seed=0):
    """Utilities that fall with what is removed, neighbours replacing each other in part."""
    rng = np.random.default_rng(seed)
    cost = rng.gamma(1.2, 0.3, n)
    joint = 0.4 * rng.random(n - 1)

    def utility(coalitions):
        gone = 1.0 - coalitions
        damage = gone @ cost + (gone[:, :-1] * gone[:, 1:]) @ joint
        return -8.0 * (1.0 - np.exp(-damage / 4.0))

    return FunctionGame(utility, n)


def retained(n, seed):
    """Retention of a game whose first player carries nearly all and whose neighbours add up."""
    rng = np.random.default_rng(seed)
    cost, joint = rng.gamma(1.5, 0.25, n), rng.gamma(1.0, 0.5, n - 1)
    cost[0], cost[-1] = 6.0, 3.0 * cost[-1]
    gone = 1.0 - enumerate_all(n)
    damage = gone @ cost + (gone[:, :-1] * gone[:, 1:]) @ joint
    for _ in range(n):
        one, two = rng.choice(n, 2, replace=False)
        damage += gone[:, one] * gone[:, two] * rng.gamma(0.5, 0.5)
    return TableGame(np.exp(-damage - 0.15 * damage**1.5))


def table(game):
    return TableGame(game(enumerate_all(len(game.players))), game.players)


def error(found, truth):
    return float(((found - truth) ** 2).sum() / (truth**2).sum())


def test_far_more_accurate_than_sampling_at_equal_budget():
    game = table(layered(10))
    truth = exact_values(game).values
    for budget in (60, 120, 250):
        ours = np.mean(
            [error(estimate(AdaptiveValues(), game, budget, s).values, truth) for s in (0, 1)]
        )
        plain = np.mean([error(regression_values(game, budget, s).values, truth) for s in (0, 1)])
        assert ours < plain / 3


def test_uses_the_budget_adds_up_and_says_what_stands_behind_it():
    game = table(layered(8))
    found = estimate(AdaptiveValues(), game, 70)
    assert found.spent == found.budget == 70
    assert found.values.sum() == pytest.approx(game.values[-1] - game.values[0], abs=1e-9)
    assert found.status is Status.QUADRATURE
    assert found.method == "adaptive"
    assert found.diagnostics["left_out_r2"] > 0.9
    assert found.diagnostics["stretch"] >= 1.0
    assert found.covariance is not None
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), found.standard_errors)


def test_is_exact_once_everything_is_measured():
    game = table(layered(5))
    found = estimate(AdaptiveValues(), game, 32)
    assert found.status is Status.EXACT
    np.testing.assert_allclose(found.values, exact_values(game).values, atol=1e-12)


def test_smallest_budget_measures_all_none_and_single_removals():
    game = table(layered(6))
    rows = AdaptiveValues().propose(start(game.players), 8)
    expected = np.concatenate([full(6)[None], empty(6)[None], ~np.eye(6, dtype=bool)])
    assert set(keys(rows)) == set(keys(expected))
    found = estimate(AdaptiveValues(), game, 8)
    assert np.isfinite(found.standard_errors).all()


def test_a_state_rebuilt_from_arrays_goes_on_the_same_way():
    game = table(layered(9))
    estimator = AdaptiveValues()
    half = advance(estimator, start(game.players, 3), game, 60)
    again = State(half.players, half.coalitions.copy(), half.utilities.copy(), 3)
    first, second = (advance(estimator, state, game, 40) for state in (half, again))
    np.testing.assert_array_equal(first.coalitions, second.coalitions)
    np.testing.assert_array_equal(estimator.result(first).values, estimator.result(second).values)
    assert len(set(keys(first.coalitions))) == 100


def test_seeds_matter_and_repeat():
    game = table(layered(9))
    one, same, other = (estimate(AdaptiveValues(), game, 50, s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.values, same.values)
    assert not np.array_equal(one.values, other.values)


def test_any_measurements_will_do():
    game = table(layered(8))
    rng = np.random.default_rng(0)
    rows = enumerate_all(8)[np.r_[0, 255, rng.permutation(np.arange(1, 255))[:80]]]
    state = start(game.players).extended(rows, game(rows))
    found = AdaptiveValues().result(state)
    assert error(found.values, exact_values(game).values) < 1e-2


def test_operator_takes_utilities_to_values():
    game = table(layered(8))
    state = advance(AdaptiveValues(), start(game.players), game, 60)
    learned = fit_values(state)
    np.testing.assert_allclose(learned.operator @ state.utilities, learned.values, atol=1e-12)
    np.testing.assert_allclose(learned.operator.sum(axis=1), 0.0, atol=1e-9)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    inside = []
    for seed in range(8):
        game = table(layered(8, seed))
        found = estimate(AdaptiveValues(), game, 80, seed)
        truth = exact_values(game).values
        inside.append((found.lower <= truth) & (truth <= found.upper))
    assert np.mean(inside) >= 0.85


def test_intervals_of_retention_from_few_measurements_are_wide_enough():
    inside = []
    for seed in range(6):
        game = retained(10, seed)
        found = estimate(AdaptiveValues(), game, 50, seed)
        truth = exact_values(game).values
        inside.append((found.lower <= truth) & (truth <= found.upper))
    assert np.mean(inside) >= 0.9


def test_values_of_retention_are_accurate():
    errors = {budget: [] for budget in (50, 100)}
    for seed in range(3):
        game = retained(10, seed)
        truth = exact_values(game).values
        for budget, found in errors.items():
            found.append(error(estimate(AdaptiveValues(), game, budget, seed).values, truth))
    assert np.mean(errors[50]) < 0.02
    assert np.mean(errors[100]) < 1e-3


def test_single_players_are_measured_where_they_differ_only():
    n, few = 10, {}
    for name, game in (("retention", retained(n, 0)), ("loss", table(layered(n)))):
        state = advance(AdaptiveValues(), start(game.players), game, 3 * n)
        few[name] = int((state.coalitions.sum(axis=1) == 1).sum())
    assert few["loss"] == n
    assert few["retention"] < n // 2


def test_retention_is_measured_near_the_whole_model():
    n = 14
    game = retained(n, 1)
    state = advance(AdaptiveValues(), start(game.players), game, 10 * n)
    chosen = state.coalitions[-5 * n :]
    assert np.median((~chosen).sum(axis=1)) <= n // 3


def test_noise_is_told_apart_from_a_smooth_game():
    rng = np.random.default_rng(0)
    game = TableGame(rng.normal(size=1 << 9))
    found = estimate(AdaptiveValues(), game, 90)
    assert found.status is Status.ROUGH
    assert found.diagnostics["unexplained"] > 0.3
    truth = exact_values(game).values
    assert np.mean((found.lower <= truth) & (truth <= found.upper)) > 0.8


def test_utilities_far_below_all_others_do_no_harm():
    smooth = layered(10)
    rows = enumerate_all(10)
    sizes = rows.sum(axis=1)
    heavy = TableGame(smooth(rows) - 25.0 * np.exp(-1.2 * sizes))
    truth = exact_values(heavy).values
    assert error(estimate(AdaptiveValues(), heavy, 100).values, truth) < 1e-3


def test_scale_and_offset_of_the_utility_do_not_matter():
    game = table(layered(8))
    moved = TableGame(1024.0 * game.values + 64.0)
    here, there = (estimate(AdaptiveValues(), g, 60).values for g in (game, moved))
    np.testing.assert_allclose(there / 1024.0, here, rtol=0.03)


def test_constant_game_has_no_values_and_no_errors():
    found = estimate(AdaptiveValues(), TableGame(np.full(256, 2.5)), 40)
    np.testing.assert_allclose(found.values, 0.0, atol=1e-12)


@pytest.mark.parametrize("missing", [0, 15])
def test_the_ends_must_be_measured(missing):
    game = table(layered(4))
    rows = np.delete(enumerate_all(4), missing, axis=0)
    state = start(game.players).extended(rows, game(rows))
    with pytest.raises(ValueError, match="full and the empty"):
        AdaptiveValues().result(state)


def test_too_few_measurements_are_refused():
    game = table(layered(6))
    state = advance(AdaptiveValues(), start(game.players), game, 5)
    with pytest.raises(ValueError, match="at least 8"):
        AdaptiveValues().result(state)
