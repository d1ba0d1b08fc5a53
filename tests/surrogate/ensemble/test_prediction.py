"""Predictions against the same ensemble computed in double precision."""

import numpy as np
import pytest

from sampling import enumerate_all, stream
from surrogate import SurrogateRegressor
from surrogate.ensemble import prediction
from tests.support.explorer_samples import LayerLoss
from tests.support.plain_prediction import predict_plainly


def game_of(n, rough):
    game = LayerLoss(tuple(f"L{place}" for place in range(n)))
    game.rough = rough / 0.1 * game.rough
    return game


def fitted(game):
    n = len(game.players)
    every = enumerate_all(n)
    chosen = every[stream(1, "measured", n).permutation(len(every))[:120]]
    rows = np.unique(np.vstack([chosen, ~np.eye(n, dtype=bool), np.ones((1, n), bool)]), axis=0)
    return SurrogateRegressor(steps=40, folds=4).fit(rows, game(rows))


@pytest.mark.parametrize("tolerance", [1.0, 0.0])
def test_predictions_agree_with_double_precision(monkeypatch, tolerance):
    game = game_of(9, 0.1)
    regressor, rows = fitted(game), enumerate_all(9)
    exact = predict_plainly(regressor.ensemble_, rows)
    monkeypatch.setattr(prediction, "TOLERANCE", tolerance)
    predictor = prediction.Predictor(regressor.ensemble_)
    assert predictor.double is (tolerance == 0.0)
    assert np.abs(predictor(rows) - exact).max() < 2e-4 * np.ptp(exact)


def test_a_smooth_game_is_predicted_as_well_as_its_score_says():
    game = game_of(9, 0.0)
    regressor, rows = fitted(game), enumerate_all(9)
    assert np.abs(regressor.predict(rows) - game(rows)).mean() < 2 * regressor.scores_.mae
