"""Held-out quality of the surrogate beside scikit-learn's learners on the same folds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV

from shapley.regression.pairwise_ridge import pair_features
from surrogate.model.conformal import Conformal
from surrogate.model.regressor import SurrogateRegressor
from surrogate.model.scores import ExcessScores, Scores, by_excess, by_stratum, score

__all__ = ["BASELINES", "SURROGATE", "Evaluation", "evaluate", "gradient_boosting", "ridge_pairs"]

SURROGATE = "surrogate"
EDGES = (0.5, 1.0, 2.0)  # nats
Learner = Callable[
    [Bool[np.ndarray, "m n"], Float[np.ndarray, "m"], Bool[np.ndarray, "B n"]],
    Float[np.ndarray, "B"],
]


def ridge_pairs(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    asked: Bool[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    """Returns scikit-learn's ``RidgeCV`` predictions from players and pairs of players.

    Args:
        coalitions: measured rows, True = kept.
        utilities: one a measured row.
        asked: rows to predict.
    """
    model = RidgeCV(alphas=np.logspace(-3, 4, 15))
    model.fit(pair_features(np.where(coalitions, 1.0, -1.0)), utilities)
    return np.asarray(model.predict(pair_features(np.where(asked, 1.0, -1.0))))


def gradient_boosting(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    asked: Bool[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    """Returns scikit-learn's histogram gradient boosting predictions.

    Args:
        coalitions: measured rows, True = kept.
        utilities: one a measured row.
        asked: rows to predict.
    """
    # The default of 20 rows a leaf leaves a few dozen coalitions without a single split.
    model = HistGradientBoostingRegressor(min_samples_leaf=5, random_state=0)
    model.fit(coalitions.astype(np.float64), utilities)
    return np.asarray(model.predict(asked.astype(np.float64)))


BASELINES: dict[str, Learner] = {
    "ridge with pairs": ridge_pairs,
    "gradient boosting": gradient_boosting,
}


@dataclass(frozen=True)
class Evaluation:
    """Held-out scores; every learner predicted each coalition without having seen it.

    Attributes:
        players: number of players.
        coalitions: number of measured coalitions.
        folds: number of cross-validation folds, the same for all learners.
        overall: scores of each learner.
        strata: scores of each learner by number of removed players.
        level: nominal level of the surrogate's intervals.
        coverage: share of held-out utilities inside intervals calibrated on the other folds;
            None where there are too few coalitions for the level.
        by_excess: the surrogate's scores by how much worse than the whole model sets are.
        within: the same of all sets below the middle edge, which are the ones to ask about.
    """

    players: int
    coalitions: int
    folds: int
    overall: dict[str, Scores]
    strata: dict[str, dict[int, Scores]]
    level: float
    coverage: float | None
    by_excess: tuple[ExcessScores, ...] = ()
    within: ExcessScores | None = None


def evaluate(
    regressor: SurrogateRegressor,
    X: Bool[np.ndarray, "m n"],
    y: Float[np.ndarray, "m"],
    removed: Int[np.ndarray, "m"] | None = None,
    *,
    level: float = 0.95,
    edges: Sequence[float] = EDGES,
    beside: Mapping[str, Learner] = BASELINES,
) -> Evaluation:
    """Scores a fitted surrogate and other learners by the surrogate's own folds.

    Args:
        regressor: fitted on exactly these rows.
        X: the coalitions.
        y: their utilities.
        removed: the stratum of each row; the number of removed players when omitted.
        level: of the intervals whose coverage is measured.
        edges: of excess over the whole model, in units of the utility; the middle one bounds
            what is near.
        beside: the other learners, by name.

    Raises:
        ValueError: if the rows are not those of the fit.
    """
    coalitions = np.asarray(X) == 1
    utilities = np.asarray(y, np.float64)
    held_out = getattr(regressor, "out_of_fold_", None)
    if held_out is None or held_out.shape != utilities.shape or len(coalitions) != len(utilities):
        raise ValueError(
            f"regressor must be fitted on exactly these {len(utilities)} coalitions;"
            " fit it on X and y first"
        )
    strata = (~coalitions).sum(axis=1) if removed is None else np.asarray(removed, np.int64)
    predictions = {SURROGATE: held_out}
    fold = regressor.folds_
    for name, learner in beside.items():
        predicted = np.empty_like(utilities)
        for k in range(int(fold.max()) + 1):
            rows = fold == k
            predicted[rows] = learner(coalitions[~rows], utilities[~rows], coalitions[rows])
        predictions[name] = predicted
    ends = _held_out_ends(regressor, utilities, level)
    whole = regressor.ensemble_.warp.whole
    middle = edges[len(edges) // 2]
    near = by_excess(held_out, utilities, whole, (middle,), level, ends)
    inside = None if ends is None else (ends[0] <= utilities) & (utilities <= ends[1])
    return Evaluation(
        players=coalitions.shape[1],
        coalitions=len(utilities),
        folds=int(fold.max()) + 1,
        overall={name: score(values, utilities) for name, values in predictions.items()},
        strata={
            name: by_stratum(values, utilities, strata) for name, values in predictions.items()
        },
        level=level,
        coverage=None if inside is None else float(inside.mean()),
        by_excess=by_excess(held_out, utilities, whole, edges, level, ends),
        within=near[0] if near[0].below is not None else None,
    )


def _held_out_ends(
    regressor: SurrogateRegressor, utilities: Float[np.ndarray, "m"], level: float
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]] | None:
    """Returns the ends of each row's interval, calibrated on the other folds."""
    warp, fold, held_out = regressor.ensemble_.warp, regressor.folds_, regressor.out_of_fold_
    predicted, measured = warp.to_scale(held_out), warp.to_scale(utilities)
    lower, upper = np.empty_like(utilities), np.empty_like(utilities)
    for k in range(int(fold.max()) + 1):
        rows = fold == k
        try:
            half = Conformal.of(predicted[~rows], measured[~rows]).half_widths(level)
        except ValueError:
            return None
        lower[rows], upper[rows] = warp.around(held_out[rows], half)
    return lower, upper
