"""The surrogate as a game, and the estimators that learn with it, keep their contracts."""

from __future__ import annotations

import pytest

from sampling import campaign_design
from surrogate.model.estimators import SurrogateValues, cross_fitted
from surrogate.model.game import SurrogateGame
from surrogate.model.regressor import SurrogateRegressor
from tests.support.contracts.estimator import NestedContract
from tests.support.contracts.game import GameContract
from tests.support.shapley_games import smooth


class TestSurrogateGame(GameContract):
    exact = False

    @pytest.fixture(scope="class")
    @classmethod
    def game(cls):
        rows = campaign_design(6, 30, 4, 0).coalitions
        utilities = smooth(6, 1)(rows)
        return SurrogateGame(
            SurrogateRegressor(seed=0, folds=2).fit(rows, utilities),
            measured=(rows[:5], utilities[:5]),
        )


class TestSurrogateValues(NestedContract):
    @pytest.fixture(params=[True, False], ids=["corrected", "own"])
    def estimator(self, request):
        return SurrogateValues(corrected=request.param)


class TestCrossFitted(NestedContract):
    @pytest.fixture
    def estimator(self):
        return cross_fitted(folds=2)
