"""How many evaluations a wanted standard error takes, from what it took so far."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["advise"]

LEAST_POINTS = 3
LEAST_EXPONENT = 0.1
MOST_EVALUATIONS = 10**12


def advise(
    history: Sequence[tuple[int, float]], target: float, most: int | None = None
) -> int | None:
    """Returns about how many evaluations the standard error needs to fall to a target.

    Fits ``error = c * evaluations^(-b)`` by the median of the slopes between points (Theil & Sen),
    which single odd errors do not move, on the points of the last two doublings (three at least),
    since errors fall faster once a surrogate has learnt the game. A smaller target never needs
    fewer evaluations. A target below the last error needs more than the last evaluations, one
    that the last error meets no more than those.

    Args:
        history: evaluations and the standard error at each, in any order.
        target: standard error wanted, in the same unit, positive.
        most: evaluations from which on the values are exact, such as ``2^n``; the answer is never
            above it.

    Returns:
        Distinct evaluations in all, or None if that cannot be told: fewer than three different
        numbers of evaluations with finite errors, or errors that hardly fall. A zero error in the
        history says that this many evaluations are enough.

    Raises:
        ValueError: if the target is not positive and finite.
    """
    if not (math.isfinite(target) and target > 0):
        raise ValueError(f"target must be a positive standard error, got {target}")
    points = sorted({(int(m), float(se)) for m, se in history if m > 0 and math.isfinite(se)})
    enough = [m for m, error in points if error <= 0]
    points = [(m, error) for m, error in points if error > 0]
    ceiling = min(MOST_EVALUATIONS if most is None else most, *enough, MOST_EVALUATIONS)
    if len({m for m, _ in points}) < LEAST_POINTS:
        return min(enough) if enough else None
    last, final = points[-1]
    met = target >= final
    needed = _power_law(points, target)
    if needed is None or needed > MOST_EVALUATIONS:
        if not met and ceiling == MOST_EVALUATIONS:
            return None
        needed = last if met else ceiling
    return min(ceiling, min(needed, last) if met else max(needed, last + 1))


def _power_law(points: Sequence[tuple[int, float]], target: float) -> int | None:
    """Returns where the fitted power law meets the target, or None if it hardly falls."""
    evaluations = sorted({m for m, _ in points})
    start = min(math.ceil(evaluations[-1] / 4), evaluations[-LEAST_POINTS])
    x, y = np.log(np.array([point for point in points if point[0] >= start], dtype=np.float64)).T
    first, second = np.triu_indices(len(x), 1)
    apart = x[second] > x[first]
    slopes = (y[second] - y[first])[apart] / (x[second] - x[first])[apart]
    exponent = -float(np.median(slopes))
    if exponent < LEAST_EXPONENT:
        return None
    level = float(np.median(y + exponent * x))
    logarithm = min((level - math.log(target)) / exponent, math.log(2.0 * MOST_EVALUATIONS))
    return max(1, math.ceil(math.exp(logarithm) - 1e-9))
