"""How far two models differ on the same text or the same items, with an interval."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.stats import norm
from scipy.stats import t as student

__all__ = ["matched_interval", "paired_interval"]

_NORMAL_975 = float(norm.ppf(0.975))


def paired_interval(
    difference_S: Float[np.ndarray, "S"], weights_S: Float[np.ndarray, "S"]
) -> tuple[float, float, float]:
    """Weighted mean of per-sequence differences with its 95 % Student interval.

    The same sequences are scored by both models, so what makes a sequence hard for both cancels.
    With a single sequence there is no interval (NaN), and nothing where a difference is not finite.

    Returns:
        (mean, lower, upper), in the unit of the differences.
    """
    if not np.isfinite(difference_S).all():
        return float("nan"), float("nan"), float("nan")
    share = weights_S / weights_S.sum()
    mean = float(share @ difference_S)
    size = len(difference_S)
    if size < 2:
        return mean, float("nan"), float("nan")
    error = np.sqrt(size / (size - 1) * float((share**2) @ (difference_S - mean) ** 2))
    half = float(student.ppf(0.975, size - 1)) * float(error)
    return mean, mean - half, mean + half


def matched_interval(
    right_I: Float[np.ndarray, "I"], other_I: Float[np.ndarray, "I"]
) -> tuple[float, float, float]:
    """Difference of two accuracies on the same items with its 95 % interval.

    Half an item is added to each cell of the two models' table of right and wrong answers, so that
    an interval is left where both agree on every item: no difference in 20 items is no proof.

    Args:
        right_I: 1 where the first model is right on an item, else 0.
        other_I: the same of the model that it is compared with.

    Returns:
        (difference, lower, upper); NaN where an item has no answer.

    Source: Agresti & Min, Statistics in Medicine 24 (2005), "Simple improved confidence intervals
    for comparing matched proportions", adjusted Wald interval.
    """
    difference_I = right_I - other_I
    mean = float(difference_I.mean())
    if not np.isfinite(mean):
        return float("nan"), float("nan"), float("nan")
    size = len(difference_I) + 2
    better = float((difference_I > 0).sum()) + 0.5
    worse = float((difference_I < 0).sum()) + 0.5
    middle = (better - worse) / size
    half = _NORMAL_975 * np.sqrt((better + worse) - (better - worse) ** 2 / size) / size
    return mean, max(-1.0, float(middle - half)), min(1.0, float(middle + half))
