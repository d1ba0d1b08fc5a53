"""Scores of predictions: R², rank correlation and mean absolute error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

__all__ = ["ExcessScores", "Scores", "by_excess", "by_stratum", "score"]


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


@dataclass(frozen=True)
class ExcessScores:
    """How well predictions meet utilities of sets that are about as much worse than the whole.

    Attributes:
        above: least excess over the whole model, in units of the utility; None for no bound.
        below: the excess that they do not reach; None for no bound.
        scores: of the predictions.
        off: share ``level`` of the predictions is off by no more than this.
        coverage: share inside intervals calibrated on other folds; None where there are too few.
        half_width: median of half the intervals' widths; None where there are none.
    """

    above: float | None
    below: float | None
    scores: Scores
    off: float
    coverage: float | None
    half_width: float | None


def by_excess(
    predicted: Float[np.ndarray, "m"],
    measured: Float[np.ndarray, "m"],
    whole: float,
    edges: Sequence[float],
    level: float,
    ends: tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]] | None = None,
) -> tuple[ExcessScores, ...]:
    """Returns the scores of sets between edges of their measured excess, empty ones left out.

    Args:
        predicted: utilities, one a coalition.
        measured: utilities of the same coalitions.
        whole: utility of the whole model.
        edges: ascending, in units of the utility.
        level: of the intervals.
        ends: lower and upper ends of intervals.
    """
    excess = whole - measured
    bounds = [None, *edges, None]
    found = []
    for above, below in pairwise(bounds):
        rows = np.full(len(excess), True) if above is None else excess >= above
        rows = rows if below is None else rows & (excess < below)
        if not rows.any():
            continue
        coverage = half_width = None
        if ends is not None:
            lower, upper = (end[rows] for end in ends)
            coverage = float(((lower <= measured[rows]) & (measured[rows] <= upper)).mean())
            half_width = float(np.median(upper - lower)) / 2.0
        found.append(
            ExcessScores(
                above,
                below,
                score(predicted[rows], measured[rows]),
                float(np.quantile(np.abs(predicted - measured)[rows], level)),
                coverage,
                half_width,
            )
        )
    return tuple(found)


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
