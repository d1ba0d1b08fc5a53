"""The room's own games keep the contract of games."""

from __future__ import annotations

import numpy as np
import pytest

from sampling import enumerate_all
from shapley import BudgetedGame, FunctionGame, ObservedGame
from tests.support.contracts.game import GameContract
from tests.support.shapley_games import random_table, smooth


class TestTableGame(GameContract):
    @pytest.fixture
    def game(self):
        return random_table(5, 0)


class TestFunctionGame(GameContract):
    @pytest.fixture
    def game(self):
        worth = np.array([1.0, -2.0, 0.5, 4.0])
        return FunctionGame(lambda rows: np.where(rows, worth, 0.0).sum(axis=1), 4)


class TestBudgetedGame(GameContract):
    @pytest.fixture
    def game(self):
        return BudgetedGame(smooth(6), None)


class TestObservedGame(GameContract):
    @pytest.fixture
    def game(self):
        rows = enumerate_all(5)[::-1]
        return ObservedGame(rows, smooth(5)(rows), [*"abcde"])
