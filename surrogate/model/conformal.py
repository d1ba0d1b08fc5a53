"""Conformal intervals: how far held-out predictions were off, among sets that are as far gone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["Conformal", "HalfWidths"]

# Held-out residuals that a half-width rests on: at least so many, and such a share of all.
FEWEST, SHARE = 50, 0.1
KNOTS = 25
LEARNING_RATE = 0.25


@dataclass(frozen=True, eq=False)
class HalfWidths:
    """Half-widths of intervals along the surrogate's scale, linear between knots.

    Attributes:
        places: predictions on the scale, ascending.
        halves: half of the interval's width there, on the scale.
    """

    places: Float[np.ndarray, "k"]
    halves: Float[np.ndarray, "k"]

    def __call__(self, predicted: Float[np.ndarray, "B"]) -> Float[np.ndarray, "B"]:
        """Returns the half-width of each prediction, on the scale."""
        return np.interp(predicted, self.places, self.halves)


@dataclass(frozen=True, eq=False)
class Conformal:
    """Held-out predictions on the surrogate's scale and how far off each was.

    Attributes:
        predicted: ascending.
        residuals: absolute, on the scale.
        weights: what each counts, 1 on average.
    """

    predicted: Float[np.ndarray, "m"]
    residuals: Float[np.ndarray, "m"]
    weights: Float[np.ndarray, "m"]

    @classmethod
    def of(
        cls,
        predicted: Float[np.ndarray, "m"],
        measured: Float[np.ndarray, "m"],
        weights: Float[np.ndarray, "m"] | None = None,
        *,
        rows: float = 1.0,
    ) -> Conformal:
        """Builds it from out-of-fold predictions in any order.

        Args:
            predicted: places on the scale.
            measured: the true ones.
            weights: positive; equal when omitted.
            rows: share of all rows that each prediction was made from. Predictions from all of
                them are better; how much depends on the game, between not at all and the square
                root of the rows: residuals are taken to fall as their fourth root.
        """
        order = np.argsort(predicted, kind="stable")
        share = np.ones(len(predicted)) if weights is None else weights / weights.mean()
        residuals = np.abs(measured - predicted) * rows**LEARNING_RATE
        return cls(predicted[order], residuals[order], share[order])

    def half_widths(self, level: float) -> HalfWidths:
        """Returns the half-widths of intervals that hold the truth with the given probability.

        At a knot it is the ``(c + 1) level``-th smallest of the ``c`` residuals of the nearest
        predictions (Vovk et al. 2005; cross-conformal: Vovk 2015), between two of them by linear
        interpolation (Beran & Hall 1993). What is near on the scale is about equally hard to
        predict, so that sets beside the whole model get narrow intervals and wild sets wide ones
        (locally weighted conformal prediction; Lei et al., JASA 2018, section 5.2). Weights count
        residuals as so many.

        Raises:
            ValueError: if the level is outside (0, 1) or needs more residuals than there are.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, got {level}; try 0.95")
        least = _least_count(level)
        count = len(self.residuals)
        if least > self._count(np.ones(count, bool)):
            raise ValueError(
                f"level {level} needs at least {least} measured coalitions,"
                f" got {count}; measure more or lower the level"
            )
        window = min(count, max(least, FEWEST, round(SHARE * count)))
        knots = np.unique(np.linspace(0, count - 1, KNOTS).round().astype(int))
        halves = np.empty(len(knots))
        for knot, place in enumerate(knots):
            room = window
            near = self._around(place, room)
            while self._count(near) < least:
                room += 1
                near = self._around(place, room)
            order = np.argsort(self.residuals[near])
            share = self.weights[near][order]
            # The utility asked for takes a place among them, of a weight as they have it.
            below = np.cumsum(share) / (share.sum() * (1.0 + 1.0 / self._count(near)))
            halves[knot] = np.interp(level, below, self.residuals[near][order])
        return HalfWidths(self.predicted[knots], halves)

    def _around(self, place: int, room: int) -> Bool[np.ndarray, "m"]:
        count = len(self.residuals)
        start = int(np.clip(place - room // 2, 0, max(count - room, 0)))
        rows = np.zeros(count, bool)
        rows[start : start + room] = True
        return rows

    def _count(self, rows: Bool[np.ndarray, "m"]) -> float:
        """Returns how many residuals of equal weight would tell as much (Kish 1965)."""
        share = self.weights[rows]
        # Rounded, so that 19 equal ones do not count as 18.999.
        return round(float(share.sum() ** 2 / (share**2).sum()), 6) if len(share) else 0.0


def _least_count(level: float) -> int:
    # The small slack keeps a quotient such as 0.95 / 0.05 from being rounded up to 20.
    return max(1, int(np.ceil(level / (1.0 - level) - 1e-9)))
