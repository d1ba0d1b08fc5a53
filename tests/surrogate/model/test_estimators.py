"""Estimators with the ensemble as learner: its own values, corrected ones, unbiased ones."""

import numpy as np
import pytest

from sampling import enumerate_all
from shapley import Status, TableGame, advance, estimate, exact_values, regression_values, start
from surrogate.model.estimators import SurrogateValues, cross_fitted


@pytest.fixture(scope="module")
def game():
    """A saturating game of 8 players whose empty coalition is far from all else."""
    rng = np.random.default_rng(0)
    rows = enumerate_all(8)
    gone = 1.0 - rows
    damage = gone @ rng.gamma(1.2, 0.4, 8) + 0.3 * (gone[:, :-1] * gone[:, 1:]).sum(axis=1)
    utilities = -6.0 * (1.0 - np.exp(-damage / 4.0))
    utilities[0] -= 20.0
    return TableGame(utilities)


def error(found, truth):
    return float(((found.values - truth) ** 2).sum() / (truth**2).sum())


def test_corrected_values_beat_the_regression_alone(game):
    truth = exact_values(game).values
    found = estimate(SurrogateValues(), game, 100)
    assert found.status is Status.CORRECTED
    assert found.method == "corrected"
    assert found.spent == found.budget == 100
    assert found.values.sum() == pytest.approx(game.values[-1] - game.values[0])
    assert error(found, truth) < error(regression_values(game, 100), truth)


def test_own_values_know_what_the_ends_are(game):
    found = estimate(SurrogateValues(corrected=False), game, 100)
    assert found.status is Status.SURROGATE
    assert found.spent == 100
    assert found.values.sum() == pytest.approx(game.values[-1] - game.values[0])
    assert error(found, exact_values(game).values) < 1e-2


def test_a_surrogate_not_to_be_trusted_is_not_used():
    noise = TableGame(np.random.default_rng(0).normal(size=256))
    found = estimate(SurrogateValues(), noise, 60)
    assert found.status is Status.FELL_BACK
    np.testing.assert_allclose(found.values, regression_values(noise, 60).values)


def test_cross_fitted_values_add_up_and_have_errors(game):
    found = estimate(cross_fitted(folds=2), game, 80)
    assert found.values.sum() == pytest.approx(game.values[-1] - game.values[0])
    assert np.isfinite(found.standard_errors).all()
    assert error(found, exact_values(game).values) < 0.05


def test_everything_measured_is_exact(game):
    small = TableGame(game.values[:16])
    for estimator in (SurrogateValues(), SurrogateValues(corrected=False)):
        found = estimate(estimator, small, 16)
        np.testing.assert_allclose(found.values, exact_values(small).values, atol=1e-12)


def test_too_few_measurements_are_refused(game):
    state = advance(SurrogateValues(), start(game.players), game, 4)
    with pytest.raises(ValueError, match="at least 4 coalitions"):
        SurrogateValues().result(state)
