"""The default estimator and the process' belief keep their contracts."""

from __future__ import annotations

import pytest

from surrogate.process.adaptive import AdaptiveValues
from surrogate.process.belief import ProcessLearner
from tests.support.contracts.belief import BeliefContract
from tests.support.contracts.estimator import EstimatorContract


class TestAdaptiveValues(EstimatorContract):
    @pytest.fixture
    def estimator(self):
        return AdaptiveValues()


class TestProcessBelief(BeliefContract):
    @pytest.fixture
    def learner(self):
        return ProcessLearner()
