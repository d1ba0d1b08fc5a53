"""What one model costs more than another on the same text or items, as files keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layershap.results.estimate import Estimate

__all__ = ["PairedResult", "RepairedCost", "TaskResult", "TextResult"]


@dataclass(frozen=True, kw_only=True)
class PairedResult:
    """A difference of two models on the same text or items.

    Attributes:
        difference: in nats per token, or in units of a task's metric; None where not finite.
        lower: end of its 95 % interval; None where there is none.
        upper: likewise.
    """

    difference: float | None
    lower: float | None
    upper: float | None

    @property
    def estimate(self) -> Estimate:
        """The difference with its interval."""
        return Estimate.of(self.difference, self.lower, self.upper)


@dataclass(frozen=True, kw_only=True)
class TextResult(PairedResult):
    """A model beside the whole one on one source of the held-out text.

    Attributes:
        name: of the source.
        tokens: that were scored.
    """

    name: str
    tokens: int


@dataclass(frozen=True, kw_only=True)
class TaskResult(PairedResult):
    """A model beside the whole one on held-out items of a task, by one metric.

    Attributes:
        value: share of items for an accuracy, nats for a margin.
    """

    value: float | None


@dataclass(frozen=True, kw_only=True)
class RepairedCost(PairedResult):
    """A smaller model after repair beside the whole one, on the held-out text.

    Attributes:
        method: of repair; "none" where none was better than deletion.
        gain: the repaired model beside the same one only deleted: below zero where it is better.
        text: what the weights were fitted on.
        tokens: of that text.
        seconds: that choosing and fitting took.
    """

    method: str
    gain: PairedResult
    text: str
    tokens: int
    seconds: float

    def facts(self) -> dict[str, Any]:
        """Tell it in JSON values, the same wherever programs read it."""
        return {
            "method": self.method,
            "cost": self.difference,
            "lower": self.lower,
            "upper": self.upper,
            "gain": self.gain.difference,
            "gain_lower": self.gain.lower,
            "gain_upper": self.gain.upper,
            "text": self.text,
            "tokens": self.tokens,
        }
