"""Scores of predictions: R², rank correlation and mean absolute error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

__all__ = ["Scores", "by_stratum", "score"]


@dataclass(frozen=True)
class Scores:
    """How well predictions meet measured utilities.

    Attributes:
        count: number of coalitions.
        r2: share of the variance explained; None where the utilities do not vary.
        spearman: rank correlation; None where either side does not vary.
        mae: mean absolute error, in the units of the utility.
    """

    count: int
    r2: float | None
    spearman: float | None
    mae: float

    def to_dict(self) -> dict[str, Any]:
        """Returns plain JSON types."""
        return asdict(self)


def score(
    predicted: Float[np.ndarray, "m"],
    measured: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"] | None = None,
) -> Scores:
    """Returns the scores of at least one prediction; rows count equally without weights.

    Args:
        predicted: utilities, one a coalition.
        measured: utilities of the same coalitions.
        weights: how much each counts; equally much when omitted.
    """
    share = np.ones(len(measured)) if weights is None else weights
    error = predicted - measured
    variation = float(share @ (measured - np.average(measured, weights=share)) ** 2)
    r2 = 1.0 - float(share @ error**2) / variation if variation > 0 else None
    spearman = None
    if np.ptp(measured) > 0 and np.ptp(predicted) > 0:
        ranks = np.cov(rankdata(predicted), rankdata(measured), aweights=share)
        spearman = float(ranks[0, 1] / np.sqrt(ranks[0, 0] * ranks[1, 1]))
    return Scores(len(measured), r2, spearman, float(np.average(np.abs(error), weights=share)))


def by_stratum(
    predicted: Float[np.ndarray, "m"],
    measured: Float[np.ndarray, "m"],
    removed: Int[np.ndarray, "m"],
) -> dict[int, Scores]:
    """Returns the scores of each number of removed players that occurs.

    Args:
        predicted: utilities, one a coalition.
        measured: utilities of the same coalitions.
        removed: number of removed players of each.
    """
    return {
        int(size): score(predicted[removed == size], measured[removed == size])
        for size in np.unique(removed)
    }
