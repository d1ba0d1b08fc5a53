"""The room's own estimators keep the contract of estimators."""

from __future__ import annotations

import pytest

from shapley import CrossFitted, Exact, LeverageRegression, Permutation, Stratified
from tests.support.contracts.estimator import NestedContract
from tests.support.learners import ridge


class TestSampling(NestedContract):
    @pytest.fixture(
        params=[
            Permutation(antithetic=True),
            Permutation(antithetic=False),
            Stratified("equal"),
            Stratified("neyman"),
            LeverageRegression(),
            CrossFitted(ridge, folds=3),
        ],
        ids=lambda estimator: f"{estimator.name}-{getattr(estimator, 'antithetic', '')}",
    )
    def estimator(self, request):
        return request.param


class TestExact(NestedContract):
    budget = 64

    @pytest.fixture
    def estimator(self):
        return Exact()
