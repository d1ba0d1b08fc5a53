"""Estimators behind one interface, see :mod:`shapley.estimator`: each measures what it needs."""

from shapley.estimators.crossfit import CrossFitted, Learner, Predict
from shapley.estimators.enumeration import Exact
from shapley.estimators.leverage import LeverageRegression, regression_values
from shapley.estimators.permutation import Permutation, permutation_values
from shapley.estimators.stratified import Stratified, stratified_values

__all__ = [
    "CrossFitted",
    "Exact",
    "Learner",
    "LeverageRegression",
    "Permutation",
    "Predict",
    "Stratified",
    "permutation_values",
    "regression_values",
    "stratified_values",
]
