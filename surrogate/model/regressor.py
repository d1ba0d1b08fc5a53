"""The surrogate as a scikit-learn regressor."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from surrogate.ensemble.ensemble import LEARNERS, Ensemble, FitSettings, fit_ensemble
from surrogate.ensemble.network import MOST_STEPS
from surrogate.ensemble.prediction import Predictor
from surrogate.model.conformal import Conformal
from surrogate.model.scores import score

__all__ = ["SurrogateRegressor", "stack_of"]

EPOCHS = 300


class SurrogateRegressor(RegressorMixin, BaseEstimator):
    """Predicts the utility of any coalition from measured ones.

    Gaussian processes with an influence of its own for each player and networks with a residual
    stream, learnt on a logarithmic scale of the excess over the whole model and mixed by
    out-of-fold error (see :mod:`surrogate.ensemble.ensemble`). The row of all players, if it is
    measured, is what excess is counted from; otherwise the best row. It computes on the CPU unless
    JAX is configured otherwise.

    Args:
        folds: cross-validation folds, at least 2; as many networks are trained.
        networks: whether there are any. Without them a fit takes half of the time, is nearly as
            good near the whole model and worse far from it.
        width: of a network's residual stream.
        steps: optimiser steps; None for as many as the rows are worth, 2,500 at most.
        batch: rows of an optimiser step.
        process_points: most coalitions that a Gaussian process remembers. Prediction time grows
            with it.
        seed: of every random stream.

    Attributes:
        ensemble_: the fitted ensemble.
        predictor_: the same, ready to predict.
        out_of_fold_: prediction of each row by learners that did not see it, in utility units.
        learners_out_of_fold_: the same of each learner that takes part, by its name.
        folds_: the fold of each row.
        scores_: R², Spearman and mean absolute error of ``out_of_fold_``.
        conformal_: how far held-out predictions were off, on the ensemble's scale.
        stack_: weight of each learner near the whole model, and far from it.
        n_features_in_: number of players.
    """

    def __init__(
        self,
        folds: int = 5,
        networks: bool = True,
        width: int = 8,
        steps: int | None = None,
        batch: int = 64,
        process_points: int = 2048,
        seed: int = 0,
    ) -> None:
        self.folds = folds
        self.networks = networks
        self.width = width
        self.steps = steps
        self.batch = batch
        self.process_points = process_points
        self.seed = seed

    def fit(
        self, X: Any, y: Any, sample_weight: Float[np.ndarray, "m"] | None = None
    ) -> SurrogateRegressor:
        """Fits the surrogate and its held-out scores.

        Args:
            X: coalitions [m, n], boolean or 0/1, True = kept.
            y: finite utilities [m].
            sample_weight: not negative; 0 leaves a row out of every fit. Under noise of known
                variance, one over the variance.

        Raises:
            ValueError: if a shape, a value or a parameter does not fit.
        """
        coalitions = _coalitions(X)
        utilities = _utilities(y, len(coalitions))
        weights = _weights(sample_weight, len(coalitions))
        settings = self._settings(coalitions, weights)
        fitted = fit_ensemble(coalitions, utilities, weights, settings)
        ensemble = fitted.ensemble
        warp = ensemble.warp
        used = weights > 0
        self.n_features_in_ = coalitions.shape[1]
        self.ensemble_ = ensemble
        self.predictor_ = Predictor(ensemble)
        self.out_of_fold_ = warp.to_utility(fitted.held_out)
        self.learners_out_of_fold_ = {
            name: warp.to_utility(part)
            for name, part in zip(LEARNERS, fitted.learners.T, strict=True)
            if self.networks or name != LEARNERS[-1]
        }
        self.folds_ = fitted.fold
        self.scores_ = score(self.out_of_fold_[used], utilities[used], weights[used])
        self.stack_ = stack_of(ensemble)
        self.conformal_ = Conformal.of(
            fitted.held_out[used],
            warp.to_scale(utilities)[used],
            weights[used],
            rows=1.0 - 1.0 / settings.folds,
        )
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "B"]:
        """Returns the predicted utility of each coalition."""
        coalitions = self._known(X)
        return self.predictor_(coalitions)

    def predict_interval(
        self, X: Any, level: float = 0.95
    ) -> tuple[Float[np.ndarray, "B"], Float[np.ndarray, "B"]]:
        """Returns lower and upper bounds that hold the utility with the given probability.

        The interval is wider the farther a set is expected to be from the whole model; see
        ``Conformal``. Valid for coalitions drawn like the measured ones that are as far; a
        coalition that a search chose because its prediction is high is not such a draw.

        Raises:
            ValueError: if there are too few measured coalitions for the level.
        """
        return self.bounds(self.predictor_(self._known(X)), level)

    def bounds(
        self, predicted: Float[np.ndarray, "B"], level: float = 0.95
    ) -> tuple[Float[np.ndarray, "B"], Float[np.ndarray, "B"]]:
        """Returns the bounds of :meth:`predict_interval` for utilities that were predicted.

        Args:
            predicted: what :meth:`predict` returned.
            level: probability that the bounds hold the utility.

        Raises:
            ValueError: if there are too few measured coalitions for the level.
        """
        check_is_fitted(self, "ensemble_")
        half_widths = self.conformal_.half_widths(level)
        return self.ensemble_.warp.around(np.asarray(predicted, np.float64), half_widths)

    def _known(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "ensemble_")
        coalitions = _coalitions(X)
        if coalitions.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {coalitions.shape[1]} players, but the surrogate was fitted on"
                f" {self.n_features_in_}; pass coalitions of the same game"
            )
        return coalitions

    def _settings(self, coalitions: np.ndarray, weights: np.ndarray) -> FitSettings:
        least = {"folds": 2, "width": 1, "batch": 1, "process_points": 1, "seed": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < bound:
                raise ValueError(f"{name} must be an integer of at least {bound}, got {value!r}")
        if self.steps is not None and not 2 <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps must be 2 to {MOST_STEPS}, got {self.steps}; try {MOST_STEPS}")
        different = len(np.unique(coalitions[weights > 0], axis=0))
        if different < 2 * self.folds:
            raise ValueError(
                f"X must hold at least {2 * self.folds} distinct coalitions of positive weight"
                f" for {self.folds} folds, got {different}; measure more or lower folds"
            )
        steps = self.steps or int(np.clip(EPOCHS * len(coalitions) / self.batch, 200, MOST_STEPS))
        return FitSettings(
            folds=int(self.folds),
            networks=bool(self.networks),
            width=int(self.width),
            steps=steps,
            batch=int(self.batch),
            process_points=int(self.process_points),
            seed=int(self.seed),
        )


def stack_of(ensemble: Ensemble) -> dict[str, dict[str, float]]:
    """Returns the weight of each learner near the whole model and far from it.

    Args:
        ensemble: fitted.
    """
    process, near, networks = LEARNERS
    beside = process if ensemble.near is None else near
    return {
        "near": dict(zip((beside, networks), map(float, ensemble.near_mix), strict=True)),
        "far": dict(zip((process, networks), map(float, ensemble.far_mix), strict=True)),
    }


def _coalitions(X: Any) -> np.ndarray:
    rows = np.asarray(X)
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise ValueError(
            f"X must be a table [coalitions, players] of at least 2 players,"
            f" got shape {list(rows.shape)}"
        )
    if rows.dtype != np.bool_:
        if rows.dtype.kind not in "iuf" or not np.isin(rows, (0, 1)).all():
            raise ValueError("X must hold booleans (or 0 and 1), True = player kept")
        rows = rows == 1
    return np.ascontiguousarray(rows)


def _utilities(y: Any, rows: int) -> np.ndarray:
    utilities = np.asarray(y, dtype=np.float64)
    if utilities.shape != (rows,):
        raise ValueError(
            f"y must hold one utility for each of {rows} coalitions,"
            f" got shape {list(utilities.shape)}"
        )
    if bad := int((~np.isfinite(utilities)).sum()):
        raise ValueError(f"y has {bad} non-finite utilities; leave those coalitions out")
    return utilities


def _weights(sample_weight: Any, rows: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(rows)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (rows,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(
            f"sample_weight must hold {rows} finite weights of at least 0,"
            f" got shape {list(weights.shape)}"
        )
    if not weights.any():
        raise ValueError("sample_weight must have a positive entry")
    return weights
