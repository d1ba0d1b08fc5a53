"""Uncertainty of values over the calibration text, by resampling its sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from sampling.streams import stream
from shapley.regression.weighting import gram, solve, split_rows

__all__ = ["TextUncertainty", "bootstrap_values", "regression_operator"]


@dataclass(frozen=True, eq=False)
class TextUncertainty:
    """How much values would change on other text of the same kind.

    Attributes:
        values: from all sequences.
        standard_errors: standard deviation over resampled texts.
        lower: 2.5 % quantile over resampled texts.
        upper: 97.5 % quantile.
        resamples: number of resampled texts.
    """

    values: Float[np.ndarray, "n"]
    standard_errors: Float[np.ndarray, "n"]
    lower: Float[np.ndarray, "n"]
    upper: Float[np.ndarray, "n"]
    resamples: int


def regression_operator(
    coalitions: Bool[np.ndarray, "m n"], n: int, unpaired_weight: float = 1.0
) -> Float[np.ndarray, "n m"]:
    """Returns the matrix ``A`` with ``A @ utilities`` the values of :func:`fit_regression`.

    A regression estimate is linear in the utilities once the design and the weight of unpaired
    coalitions are given.

    Args:
        coalitions: distinct rows, with the empty and the full one.
        n: number of players.
        unpaired_weight: the diagnostic of that name of the fit.

    Raises:
        ValueError: if rows repeat or the empty or full coalition is missing.
    """
    rows = split_rows(coalitions, n)
    left, right = gram(
        rows.columns, np.eye(len(rows.inner)), rows.weights(unpaired=unpaired_weight)
    )
    inner = solve(left, right)[:n]
    operator = np.zeros((n, len(coalitions)))
    operator[:, rows.inner] = inner
    share = inner @ (rows.sizes / n)
    operator[:, rows.full] = 1.0 / n - share
    operator[:, rows.empty] = share - inner.sum(axis=1) - 1.0 / n
    return operator


def bootstrap_values(
    values_of: Float[np.ndarray, "n m"] | Callable[[np.ndarray], np.ndarray],
    per_sequence_utilities: Float[np.ndarray, "m S"],
    weights: Float[np.ndarray, "S"] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> TextUncertainty:
    """Returns standard errors of values over the choice of calibration sequences.

    A utility is the weighted mean of per-sequence utilities, weighted by their tokens. Each
    resample draws as many sequences with replacement and takes the values of the resulting
    utilities (Efron's bootstrap).

    Args:
        values_of: a linear map such as :func:`regression_operator`, or a function from ``m``
            utilities to ``n`` values (called once a resample).
        per_sequence_utilities: mean utility per token of each coalition on each sequence.
        weights: tokens of each sequence; equal when omitted.
        seed: of the resampling.
        resamples: number of resampled texts.

    Raises:
        ValueError: if shapes do not fit, weights are not positive, or there are fewer than 2
            sequences.
    """
    table = np.asarray(per_sequence_utilities, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise ValueError(
            "per_sequence_utilities must be finite [coalitions, sequences] with at least 2"
            f" sequences, got shape {list(table.shape)}"
        )
    count = table.shape[1]
    tokens = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    if tokens.shape != (count,) or not (tokens > 0).all():
        raise ValueError(f"weights must be {count} positive numbers of tokens, one a sequence")
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}")
    rng = stream(seed, "bootstrap", count)
    drawn = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples) * tokens
    shares = drawn / drawn.sum(axis=1, keepdims=True)
    everything = tokens / tokens.sum()
    if callable(values_of):
        values = np.asarray(values_of(table @ everything))
        resampled = np.stack([np.asarray(values_of(table @ share)) for share in shares])
    else:
        per_sequence = np.asarray(values_of) @ table
        values, resampled = per_sequence @ everything, shares @ per_sequence.T
    lower, upper = np.quantile(resampled, [0.025, 0.975], axis=0)
    return TextUncertainty(values, resampled.std(axis=0, ddof=1), lower, upper, resamples)
