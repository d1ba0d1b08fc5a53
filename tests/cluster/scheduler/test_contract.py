"""The toys that stand in for a model keep the contract of evaluators."""

from __future__ import annotations

import pytest

from sampling import enumerate_all
from tests.support.cluster_toys import COLUMNS, PLAYERS, Toy
from tests.support.contracts.evaluator import EvaluatorContract


class TestToyEvaluator(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return Toy()()

    @pytest.fixture
    def columns(self):
        return {column.name: len(column.weights) for column in COLUMNS}

    @pytest.fixture
    def coalitions(self):
        return enumerate_all(len(PLAYERS))[::5]
