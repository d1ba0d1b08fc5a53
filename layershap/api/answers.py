"""What a run answers about one set: a prediction or a measurement, each a number with its ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Measurement", "Prediction", "answers_frame"]


@dataclass(frozen=True)
class Prediction:
    """What the surrogate says about a set, on the calibration text.

    Attributes:
        removed: names of the players left out, in depth order.
        value: the predicted metric (a loss, say), in `unit`; ``float(prediction)`` gives it too.
        lower: lower end of the interval of `level`; NaN with too few measurements.
        upper: upper end.
        measured: what the real model measured of this very set; None where it did not.
        dense: the whole model's measured metric.
        cost: how much worse than the whole model it is predicted to be; 0.1 is worse by 0.1.
        metric: what is predicted, as ``nll``.
        unit: what it is counted in.
        level: share of such intervals that hold the measured value.
    """

    removed: tuple[str, ...]
    value: float
    lower: float
    upper: float
    measured: float | None
    dense: float
    cost: float
    metric: str
    unit: str
    level: float = 0.95

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        ends = _ends(self.lower, self.upper, self.level)
        known = "" if self.measured is None else f", measured {self.measured:.4f}"
        return f"without {_named(self.removed)}: {self.value:.4f} {self.unit}{ends}{known}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, null where there is no interval."""
        ends = {name: getattr(self, name) for name in ("lower", "upper")}
        return {
            **vars(self),
            "removed": list(self.removed),
            **{name: end if math.isfinite(end) else None for name, end in ends.items()},
        }


@dataclass(frozen=True)
class Measurement:
    """What the real model measured of a set.

    Attributes:
        removed: names of the players left out, in depth order.
        value: the measured metric in `unit`; ``float(measurement)`` gives it too. NaN where it is
            not finite.
        dense: the whole model's on the same text.
        cost: how much worse than the whole model; 0.1 is worse by 0.1.
        lower: lower end of the 95 % interval of the cost, from the differences sequence by
            sequence; NaN with one sequence.
        upper: upper end.
        metric: what was measured, as ``nll``.
        unit: what it is counted in.
        text: ``calibration`` (that the search saw) or ``heldout``.
    """

    removed: tuple[str, ...]
    value: float
    dense: float
    cost: float
    lower: float
    upper: float
    metric: str
    unit: str
    text: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        ends = _ends(self.lower, self.upper, 0.95, sign="+")
        text = "held-out" if self.text == "heldout" else self.text
        return (
            f"without {_named(self.removed)}: {self.value:.4f} {self.unit} on the {text} text,"
            f" cost {self.cost:+.4f}{ends}"
        )


def answers_frame(answers: Sequence[Prediction] | Sequence[Measurement]) -> pd.DataFrame:
    """Return one row an answer, one column an attribute."""
    import pandas as pd

    frame = pd.DataFrame([vars(answer) for answer in answers])
    if "measured" in frame:
        frame["measured"] = frame["measured"].astype(float)
    return frame


def _named(removed: Sequence[str]) -> str:
    return ", ".join(removed) or "nothing"


def _ends(lower: float, upper: float, level: float, sign: str = "") -> str:
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return ""
    return f" ({100 * level:g} %: {lower:{sign}.4f} to {upper:{sign}.4f})"
