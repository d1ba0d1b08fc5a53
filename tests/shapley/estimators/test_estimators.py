from __future__ import annotations

import numpy as np
import pytest

from sampling import campaign_design, empty, enumerate_all, full, paired
from shapley import (
    Status,
    exact_values,
    fit_regression,
    permutation_values,
    regression_values,
    stratified_values,
)
from tests.support.shapley_games import CountingGame, additive, pairwise, random_table, smooth

ESTIMATORS = [regression_values, permutation_values, stratified_values]


def nmse(found, truth):
    return ((found.values - truth.values) ** 2).sum() / (truth.values**2).sum()


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n", "budget"), [(2, 3), (6, 2), (6, 7), (8, 40), (9, 131), (10, 600)])
def test_the_budget_is_used_and_not_exceeded(estimator, n, budget):
    game = CountingGame(random_table(n, 7))
    result = estimator(game, budget, seed=3)
    unpaired = budget % 2 if estimator is permutation_values else 0
    assert len(game.seen) == game.rows == result.spent == budget - unpaired
    assert result.budget == budget
    span = game.game.values[-1] - game.game.values[0]
    assert result.values.sum() == pytest.approx(span)
    again = estimator(random_table(n, 7), budget, seed=3)
    np.testing.assert_array_equal(again.values, result.values)
    with pytest.raises(ValueError, match="at least 2"):
        estimator(game, 1)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("n", [1, 2, 8])
def test_exact_once_every_coalition_is_paid_for(estimator, n):
    game = random_table(n, 8)
    truth = exact_values(game)
    result = estimator(game, 2**n + 5, seed=0)
    np.testing.assert_allclose(result.values, truth.values, atol=1e-9)
    assert (result.status, result.spent) == (Status.EXACT, 2**n)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_the_regression_itself_is_exact_on_all_coalitions(n):
    game = random_table(n, 9)
    result = fit_regression(enumerate_all(n), game.values, n)
    np.testing.assert_allclose(result.values, exact_values(game).values, atol=1e-9)
    assert result.status is Status.EXACT
    assert (result.standard_errors == 0).all()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_errors_shrink_with_the_budget(estimator):
    truth = exact_values(smooth(10, 1))
    small, large = (
        np.mean([nmse(estimator(smooth(10, 1), m, seed=s), truth) for s in range(5)])
        for m in (60, 600)
    )
    assert large < 0.25 * small


def test_additive_and_pairwise_games_need_few_coalitions():
    game, worth = additive(20)
    for estimator in (regression_values, permutation_values):
        np.testing.assert_allclose(estimator(game, 80, seed=0).values, worth, atol=1e-9)
    game, values, _ = pairwise(16)
    np.testing.assert_allclose(regression_values(game, 80, seed=0).values, values, atol=1e-9)
    pairs = permutation_values(game, 2 * 15 * 4 + 2, seed=0)
    np.testing.assert_allclose(pairs.values, values, atol=1e-9)


def test_regression_beats_the_published_accuracy_on_a_steep_game():
    truth = [exact_values(smooth(12, s)) for s in range(6)]
    errors = [nmse(regression_values(smooth(12, s), 120, seed=s), truth[s]) for s in range(6)]
    assert np.median(errors) < 5e-3


def test_too_few_coalitions_are_called_so():
    result = regression_values(smooth(12), 10)
    assert result.status is Status.UNDERDETERMINED
    assert np.isnan(result.standard_errors).all()
    assert permutation_values(smooth(12), 9).status is Status.UNDERDETERMINED
    assert permutation_values(smooth(12), 30).status is Status.WITHOUT_ERRORS
    assert stratified_values(smooth(12), 9).status is Status.WITHOUT_ERRORS


@pytest.mark.parametrize(
    ("estimator", "budget"),
    [(regression_values, 150), (permutation_values, 300), (stratified_values, 300)],
)
def test_intervals_cover(estimator, budget):
    inside = []
    for seed in range(20):
        game = smooth(10, seed % 4)
        truth, found = exact_values(game).values, estimator(game, budget, seed=seed)
        assert found.status is Status.ESTIMATED
        inside.append((found.lower <= truth) & (truth <= found.upper))
    assert 0.88 <= np.mean(inside) <= 1.0


def test_permutations_are_unbiased():
    game = random_table(5, 11)
    truth = exact_values(game).values
    runs = np.stack([permutation_values(game, 18, seed=s).values for s in range(1500)])
    standard = runs.std(axis=0) / np.sqrt(len(runs))
    assert (np.abs(runs.mean(axis=0) - truth) < 5 * standard + 0.03).all()


def test_plain_permutations_cost_more_error_than_antithetic_ones():
    game, values, _ = pairwise(9)
    plain = permutation_values(game, 101, seed=1, antithetic=False)
    assert plain.spent == 101
    assert np.abs(plain.values - values).max() > 1e-3
    assert plain.status is Status.ESTIMATED


def test_campaign_designs_can_be_regressed():
    game, n = smooth(11, 2), 11
    truth = exact_values(game)
    design = campaign_design(n, 400, 5, seed=0).coalitions
    result = fit_regression(design, game(design), n, players=game.players)
    assert nmse(result, truth) < 0.02
    inside = (result.lower <= truth.values) & (truth.values <= result.upper)
    assert inside.mean() > 0.8


def test_unpaired_coalitions_weigh_what_they_tell():
    # In a quadratic game pairs are free of noise and coalitions alone are not; in a game of
    # independent noise both tell the same.
    design = campaign_design(11, 400, 5, seed=0).coalitions
    game, values, _ = pairwise(11)
    clean = fit_regression(design, game(design), 11)
    assert clean.diagnostics["unpaired_weight"] == 0.02
    assert ((clean.values - values) ** 2).sum() < 1e-4 * (values**2).sum()
    noise = fit_regression(design, random_table(11, 0)(design), 11)
    assert noise.diagnostics["unpaired_weight"] > 0.7
    paired_only = regression_values(game, 200, seed=0)
    assert paired_only.diagnostics["unpaired_weight"] == 1.0


def test_regression_names_what_is_missing():
    game = smooth(6)
    rows = paired(6, 20, 0)
    for missing, present in (("full", empty(6)), ("empty", full(6))):
        part = np.concatenate([rows, present[None]])
        with pytest.raises(ValueError, match=f"contain the {missing} one"):
            fit_regression(part, game(part), 6)
    both = np.concatenate([rows, rows[:1], full(6)[None], empty(6)[None]])
    with pytest.raises(ValueError, match="distinct"):
        fit_regression(both, game(both), 6)
    with pytest.raises(ValueError, match="finite"):
        fit_regression(enumerate_all(3), np.full(8, np.nan), 3)


def test_an_end_far_from_all_else_moves_every_value_alike():
    game, n = smooth(12), 12
    rows = campaign_design(n, 200, 4, seed=0).coalitions
    utilities = game(rows)
    far = utilities - 50.0 * ~rows.any(axis=1)
    near, moved = fit_regression(rows, utilities, n), fit_regression(rows, far, n)
    np.testing.assert_allclose(moved.values, near.values + 50.0 / n, atol=1e-8)
    np.testing.assert_allclose(moved.standard_errors, near.standard_errors, atol=1e-8)
