"""Predictions against the same ensemble computed in double precision."""

import numpy as np
import pytest

from sampling import enumerate_all, stream
from surrogate import SurrogateRegressor
from tests.support.explorer_samples import LayerLoss
from tests.support.plain_prediction import predict_learners


def game_of(n, rough):
    game = LayerLoss(tuple(f"L{place}" for place in range(n)))
    game.rough = rough / 0.1 * game.rough
    return game


def fitted(game):
    n = len(game.players)
    every = enumerate_all(n)
    chosen = every[stream(1, "measured", n).permutation(len(every))[:120]]
    rows = np.unique(np.vstack([chosen, ~np.eye(n, dtype=bool), np.ones((1, n), bool)]), axis=0)
    return SurrogateRegressor(steps=40, members=2, width=16, folds=4).fit(rows, game(rows))


@pytest.mark.parametrize(
    ("n", "rough", "double"), [(9, 0.0, True), (12, 0.0, False), (9, 0.1, False), (12, 0.1, False)]
)
def test_predictions_agree_with_double_precision(n, rough, double):
    game = game_of(n, rough)
    regressor, rows = fitted(game), enumerate_all(n)
    ensemble = regressor.ensemble_
    learners = (predict_learners(ensemble, rows) - ensemble.mean) / ensemble.scale
    exact = ensemble.mean + ensemble.scale * (learners @ ensemble.stack)
    assert regressor.predictor_.double is double  # the quick way where it is good enough
    assert np.abs(regressor.predict(rows) - exact).max() < 1.5e-5 * ensemble.scale


def test_a_smooth_game_is_predicted_as_well_as_its_score_says():
    game = game_of(9, 0.0)
    regressor, rows = fitted(game), enumerate_all(9)
    assert np.abs(regressor.predict(rows) - game(rows)).mean() < 2 * regressor.scores_.mae
