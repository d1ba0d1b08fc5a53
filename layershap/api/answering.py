"""What is said of sets to whoever asks: prediction, interval, measured value and cost.

The command line, the Python object and the server all ask here. A surrogate and what was measured
are enough; the model is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from layershap.api.answers import Prediction
from sampling import keys

if TYPE_CHECKING:
    from cluster import Campaign
    from surrogate import SurrogateRegressor
    from surrogate.model.conformal import HalfWidths

__all__ = ["Answerer", "Answers", "Lookup", "looked_up", "measured_in"]

LEVELS_KEPT = 64

Lookup = Callable[[Bool[np.ndarray, "B n"]], Float[np.ndarray, "B"]]
"""Measured utilities of sets; NaN where there is none."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said of many sets, in units of the metric.

    Attributes:
        value: predicted.
        lower: lower end of the interval; None with too few measurements for its level.
        upper: upper end.
        measured: what was measured of a set; NaN where nothing was.
    """

    value: Float[np.ndarray, "B"]
    lower: Float[np.ndarray, "B"] | None
    upper: Float[np.ndarray, "B"] | None
    measured: Float[np.ndarray, "B"]

    def __getitem__(self, rows: slice | Int[np.ndarray, "b"]) -> Answers:
        """Return the answers of some rows."""
        return Answers(
            self.value[rows],
            None if self.lower is None else self.lower[rows],
            None if self.upper is None else self.upper[rows],
            self.measured[rows],
        )


class Answerer:
    """Answers about sets from a fitted surrogate and from what was measured.

    Attributes:
        players: names in depth order.
        metric: what is predicted, as ``nll``.
        unit: what it is counted in.
        dense: the whole model's measured metric.
    """

    def __init__(
        self,
        regressor: SurrogateRegressor,
        measured: Lookup,
        players: Sequence[str],
        metric: str,
        unit: str,
        sign: int,
    ) -> None:
        """Prepare to answer.

        Args:
            regressor: fitted; predicts the utility, which is the sign times the metric.
            measured: utilities that were measured, the whole model's among them.
            players: names in depth order, ``n`` of them.
            metric: what the utility is made of.
            unit: what it is counted in.
            sign: 1 where a higher metric is better, -1 where a lower one is.
        """
        self.players, self.metric, self.unit = tuple(players), metric, unit
        self._regressor, self._measured, self._sign = regressor, measured, sign
        self.dense = sign * float(measured(np.ones((1, len(players)), dtype=bool))[0])
        self._half_widths = lru_cache(LEVELS_KEPT)(self._compute_half_widths)

    def utilities(self, rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Return predicted utilities; the dear part, safe to call from any thread."""
        return self._regressor.predict(rows)

    def answers(
        self,
        rows: Bool[np.ndarray, "B n"],
        level: float,
        utilities: Float[np.ndarray, "B"] | None = None,
    ) -> Answers:
        """Return what is said of sets.

        Args:
            rows: True = kept.
            level: of the prediction intervals.
            utilities: predicted ones, where they are known already.
        """
        predicted = self.utilities(rows) if utilities is None else utilities
        lower = upper = None
        if (half := self._half_widths(level)) is not None:
            ends = self._regressor.ensemble_.warp.around(predicted, half)
            lower, upper = (self._sign * end for end in ends[:: self._sign])
        return Answers(self._sign * predicted, lower, upper, self._sign * self._measured(rows))

    def cost(self, value: Float[np.ndarray, "B"]) -> Float[np.ndarray, "B"]:
        """Return how much worse than the whole model a metric is: above 0 is worse."""
        return self._sign * (self.dense - value)

    def removed(self, row: Bool[np.ndarray, "n"]) -> tuple[str, ...]:
        """Return the names of who is not kept, in depth order."""
        return tuple(self.players[place] for place in np.flatnonzero(~row))

    def prediction(
        self, row: Bool[np.ndarray, "n"], answers: Answers, place: int, level: float
    ) -> Prediction:
        """Return one answer with all that belongs to it.

        Args:
            row: the set, True = kept.
            answers: of many sets.
            place: the set's place among them.
            level: of the prediction intervals.
        """
        measured = float(answers.measured[place])
        return Prediction(
            removed=self.removed(row),
            value=float(answers.value[place]),
            lower=np.nan if answers.lower is None else float(answers.lower[place]),
            upper=np.nan if answers.upper is None else float(answers.upper[place]),
            measured=measured if np.isfinite(measured) else None,
            dense=self.dense,
            cost=float(self.cost(answers.value[place : place + 1])[0]),
            metric=self.metric,
            unit=self.unit,
            level=level,
        )

    def _compute_half_widths(self, level: float) -> HalfWidths | None:
        try:
            return self._regressor.conformal_.half_widths(level)
        except ValueError:  # too few measurements for this level
            return None


def looked_up(coalitions: Bool[np.ndarray, "m n"], utilities: Float[np.ndarray, "m"]) -> Lookup:
    """Return a lookup of measurements that lie in memory."""
    known = dict(zip(keys(coalitions), utilities.tolist(), strict=True))

    def measured(rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        return np.array([known.get(key, np.nan) for key in keys(rows)], dtype=np.float64)

    return measured


def measured_in(campaign: Campaign) -> Lookup:
    """Return a lookup of what the ledger holds of a campaign at the moment it is asked."""

    def measured(rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        found = np.full(len(rows), np.nan)
        there = ~campaign.missing(rows)
        if there.any():
            found[there] = campaign.read(rows[there]).utilities
        return found

    return measured
