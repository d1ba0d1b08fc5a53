"""The estimators that a person may name; each is imported when it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from layershap.errors import UserError
from shapley.estimator import Estimator

__all__ = ["METHODS", "Method", "make_estimator"]


@dataclass(frozen=True)
class Method:
    """One way to estimate values.

    Attributes:
        home: its module and class.
        what: a line for people.
        settings: arguments of the class.
    """

    home: str
    what: str
    settings: Mapping[str, Any] = field(default_factory=dict)


METHODS = {
    "default": Method(
        "surrogate.process.adaptive:AdaptiveValues",
        "a Gaussian process that chooses the sets which tell most",
    ),
    "corrected": Method(
        "surrogate.model.estimators:SurrogateValues",
        "the learned ensemble's values, corrected by a regression on its residuals",
    ),
    "surrogate": Method(
        "surrogate.model.estimators:SurrogateValues",
        "the learned ensemble's values as they are",
        {"corrected": False},
    ),
    "unbiased": Method(
        "surrogate.model.estimators:cross_fitted",
        "residuals of an ensemble that never saw them, strictly unbiased",
    ),
    "regression": Method(
        "shapley.estimators:LeverageRegression", "weighted regression on complement pairs"
    ),
    "permutation": Method(
        "shapley.estimators:Permutation", "marginal contributions along random permutations"
    ),
    "stratified": Method(
        "shapley.estimators:Stratified", "means over sets of one size, equal counts a size"
    ),
    "neyman": Method(
        "shapley.estimators:Stratified",
        "the same with counts that follow the spread of a pilot",
        {"allocation": "neyman"},
    ),
    "exact": Method("shapley.estimators:Exact", "every set"),
}


def make_estimator(name: str) -> Estimator:
    """Returns the estimator of that name.

    Raises:
        UserError: if there is none.
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.4)
        hint = f" (nearest: {near[0]})" if near else ""
        raise UserError(f"--method {name}: unknown{hint}; choose one of {', '.join(METHODS)}")
    method = METHODS[name]
    module, _, kind = method.home.partition(":")
    return getattr(import_module(module), kind)(**method.settings)
