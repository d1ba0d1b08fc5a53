"""Values from a surrogate, corrected by what the real game's measurements say about its errors."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from shapley.indices.monte_carlo import surrogate_values
from shapley.regression.fit import fit_regression
from shapley.regression.jackknife import pair_jackknife
from shapley.regression.weighting import GROUPS, Rows, gram, solve, split_rows
from shapley.values import Status, Values

__all__ = ["LEAST_R2", "corrected_values", "surrogate_values"]

LEAST_R2 = 0.5
MOST_APART = 4.0


def corrected_values(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    predictions: Float[np.ndarray, "m"],
    surrogate: Values,
    out_of_fold: Float[np.ndarray, "m"] | None = None,
    *,
    budget: int | None = None,
    seed: int = 0,
) -> Values:
    """Returns Shapley values of the measured game by regression-adjusted surrogate values.

    With ``f`` the surrogate and ``lambda`` its weight, the estimate is
    ``lambda phi(f) + psi + (D / n) 1``, where ``psi`` is the weighted regression of
    :mod:`shapley.regression.weighting` on the residuals ``v - lambda f`` and ``D`` the span of the
    residuals from empty to full (Witter et al., NeurIPS 2025). The sum is always
    ``v(N) - v(empty)``, additive errors of the surrogate cancel, and the estimate is exact once
    all coalitions are measured.

    Out-of-fold predictions give ``lambda`` (one more column of the regression, clipped to
    [0, 1]), the right to use the surrogate at all (out-of-fold R² of at least 0.5), and the
    standard errors: a jackknife over 20 groups of complement pairs of the same estimate with
    out-of-fold residuals, since in-sample residuals are too small. If the estimate with in-sample
    residuals lies further from that one than its errors allow (mean square above four times the
    mean variance), the surrogate remembers rather than predicts its training set: the estimate
    with out-of-fold residuals is returned instead, and the mean square of the distance adds to the
    variances, since the surrogate's own values remember as well.

    Args:
        coalitions: distinct measured rows, uniform inside each size, with the empty and full one.
        utilities: measured, one a row.
        predictions: of the surrogate whose values are given, one a row.
        surrogate: values of that surrogate; their own standard errors are added to the result's.
        out_of_fold: predictions for each row by surrogates that did not see it. At the empty and
            the full coalition they may be NaN.
        budget: to report; the number of rows when omitted.
        seed: of the jackknife's groups.

    Returns:
        Values with status ``CORRECTED``, ``FELL_BACK`` (regression alone, said openly),
        ``CORRECTED_WITHOUT_ERRORS`` or ``EXACT``; diagnostics ``surrogate_weight`` (lambda),
        ``out_of_fold_r2`` and ``cross_fitted_centre`` (1 if the out-of-fold residuals were used).

    Raises:
        ValueError: if shapes do not fit, numbers are not finite, or the surrogate's values do
            not belong to its predictions.
    """
    n = len(surrogate.players)
    rows = split_rows(coalitions, n)
    measured = _numbers(utilities, "utilities", len(coalitions))
    predicted = _numbers(predictions, "predictions", len(coalitions))
    _same_surrogate(rows, predicted, surrogate)
    held_out = None
    if out_of_fold is not None:
        held_out = np.array(out_of_fold, dtype=np.float64)
        for end in (rows.full, rows.empty):
            if held_out.shape == measured.shape and not np.isfinite(held_out[end]):
                held_out[end] = predicted[end]
        held_out = _numbers(held_out, "out_of_fold", len(coalitions))

    diagnostics: dict[str, float] = {}
    if held_out is not None:
        diagnostics["out_of_fold_r2"] = _r2(measured[rows.inner], held_out[rows.inner])
    complete = len(measured) == 1 << n
    refused = held_out is not None and diagnostics["out_of_fold_r2"] < LEAST_R2
    if complete or refused:
        plain = fit_regression(
            coalitions, measured, n, players=surrogate.players, budget=budget, seed=seed
        )
        return dataclasses.replace(
            plain,
            status=Status.EXACT if complete else Status.FELL_BACK,
            diagnostics={**plain.diagnostics, **diagnostics, "surrogate_weight": 0.0},
        )

    residual = measured - (predicted if held_out is None else held_out)
    unpaired = rows.unpaired_weight(rows.targets(residual))
    arm = _Arm(rows, measured, surrogate.values)
    everything = rows.weights(unpaired=unpaired)
    weight, cross_fitted = 1.0, None
    if held_out is not None:
        weight, cross_fitted = arm.fit(held_out, everything)
    values = arm.fit(predicted, everything, weight)[1]
    errors, quantile, status = None, 1.96, Status.CORRECTED_WITHOUT_ERRORS
    if held_out is not None and cross_fitted is not None:

        def fit(weights: Float[np.ndarray, "k"]) -> Float[np.ndarray, "n"]:
            return arm.fit(held_out, weights)[1]

        found = pair_jackknife(rows, coalitions, fit, cross_fitted, unpaired, seed)
        if found is not None:
            own = np.nan_to_num(surrogate.standard_errors) * weight
            variance, distance = found + own**2, ((values - cross_fitted) ** 2).mean()
            apart = distance > MOST_APART * variance.mean()
            if apart:
                values, variance = cross_fitted, variance + distance
            diagnostics["cross_fitted_centre"] = float(apart)
            errors, status = np.sqrt(variance), Status.CORRECTED
            quantile = float(stats.t.ppf(0.975, GROUPS - 1))
        else:
            status = Status.WITHOUT_ERRORS
    return Values.build(
        surrogate.players,
        values,
        errors,
        method="corrected surrogate",
        status=status,
        spent=len(measured),
        budget=len(measured) if budget is None else budget,
        quantile=quantile,
        diagnostics={**diagnostics, "surrogate_weight": weight, "unpaired_weight": unpaired},
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Arm:
    """The corrected estimate as a function of the predictions and of the rows' weights."""

    rows: Rows
    measured: Float[np.ndarray, "m"]
    surrogate: Float[np.ndarray, "n"]

    def fit(
        self,
        predicted: Float[np.ndarray, "m"],
        weights: Float[np.ndarray, "k"],
        weight: float | None = None,
    ) -> tuple[float, Float[np.ndarray, "n"]]:
        """Returns lambda (found unless given) and the values."""
        n = len(self.surrogate)
        columns = self.rows.columns
        game, model = self.rows.targets(self.measured), self.rows.targets(predicted)
        both = np.stack([game, model], axis=1)
        left, right = gram(columns, both, weights)
        psi = solve(left, right)
        if weight is None:
            free_game, free_model = (both - columns @ psi).T
            scale = weights @ free_model**2
            small = 1e-20 * (weights @ model**2)
            weight = 1.0 if scale <= small else float(weights @ (free_game * free_model) / scale)
            weight = min(1.0, max(0.0, weight))
        span = self.measured[self.rows.full] - self.measured[self.rows.empty]
        share = (span - weight * self.surrogate.sum()) / n
        return weight, weight * self.surrogate + psi[:n, 0] - weight * psi[:n, 1] + share


def _numbers(values: Float[np.ndarray, "m"], name: str, count: int) -> Float[np.ndarray, "m"]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be {count} finite numbers, one for each coalition")
    return numbers


def _same_surrogate(rows: Rows, predicted: Float[np.ndarray, "m"], surrogate: Values) -> None:
    span = predicted[rows.full] - predicted[rows.empty]
    total = surrogate.values.sum()
    if abs(total - span) > 0.01 * max(float(np.ptp(predicted)), 1e-12):
        raise ValueError(
            f"surrogate values add up to {total:.6g}, its predictions span {span:.6g} from empty"
            " to full; pass the Shapley values of the surrogate that made the predictions"
        )


def _r2(truth: Float[np.ndarray, "k"], guess: Float[np.ndarray, "k"]) -> float:
    total = ((truth - truth.mean()) ** 2).sum()
    return float(1.0 - ((truth - guess) ** 2).sum() / total) if total > 0 else 0.0
