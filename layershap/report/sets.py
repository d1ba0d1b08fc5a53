"""A verified set as a report shows it, beside the whole model and the published heuristics."""

from __future__ import annotations

from dataclasses import dataclass

from layershap.results.estimate import Estimate

__all__ = ["BaselineSet", "PairedDifference", "Recommendation", "TaskScore", "TextCost"]


@dataclass(frozen=True)
class TextCost:
    """What a set costs on one of several held-out texts.

    Attributes:
        name: of the text.
        tokens: how many were scored.
        difference: nats per token above the whole model, paired interval.
    """

    name: str
    tokens: int
    difference: Estimate


@dataclass(frozen=True)
class TaskScore:
    """A set on held-out items of a multiple-choice task.

    Attributes:
        metric: task and score, such as ``piqa.acc``.
        value: share of items for an accuracy, nats for a margin.
        difference: to the whole model on the same items, with its interval.
    """

    metric: str
    value: float
    difference: Estimate


@dataclass(frozen=True)
class PairedDifference:
    """A set beside the baseline of its size that costs least on the held-out text itself.

    Attributes:
        method: the baseline.
        removed: what it removes.
        difference: nats per token that the set costs more than the baseline's, paired interval.
    """

    method: str
    removed: tuple[int, ...]
    difference: Estimate


@dataclass(frozen=True)
class BaselineSet:
    """The set that a published heuristic removes, measured on the same held-out text.

    Attributes:
        method: its name, the same in every recommendation.
        removed: player indices, ascending.
        difference: held-out nats per token above the dense model, paired interval.
        decoding: speed of cached decoding as a ratio to dense; None where not measured.
        alike: the difference once repaired by the same fit as every set; None where not measured.
        zeroed: halves of layers that an export makes zero.
    """

    method: str
    removed: tuple[int, ...]
    difference: Estimate
    decoding: Estimate | None = None
    alike: Estimate | None = None
    zeroed: tuple[str, ...] = ()

    @property
    def compared(self) -> Estimate:
        """The cost by which methods are compared."""
        return self.alike or self.difference


@dataclass(frozen=True)
class Recommendation:
    """The best verified set of one size.

    Attributes:
        removed: player indices, ascending.
        difference: held-out nats per token above the dense model, with the interval of the paired
            differences.
        parameters_saved: how many.
        command: the exact command that exports this set.
        kl: mean KL divergence from the dense model, nats per token; None where not measured.
        top1: share of tokens whose most likely next token is the dense model's.
        prefill: speed of prefill as a ratio to dense, with its spread.
        decoding: speed of cached decoding as a ratio to dense, with its spread.
        rivals: the published heuristics' sets of the same size.
        against: beside the best of them; None without any.
        texts: the cost on each of several held-out texts; may be empty.
        tasks: scores on held-out items of tasks; may be empty.
        warnings: what perplexity does not show of this set, a sentence each.
        why: why these players, beside those of least value, a sentence; empty where it is not told.
        repaired: the difference when the weights that are left are fitted to the whole model; None
            where that was not done.
        repair: the method of the fit; "none" where none was better than deletion.
        alike: the difference once repaired by the same fit as every set; None where not measured.
        zeroed: halves of layers that an export makes zero.
    """

    removed: tuple[int, ...]
    difference: Estimate
    parameters_saved: int
    command: str
    kl: float | None = None
    top1: float | None = None
    prefill: Estimate | None = None
    decoding: Estimate | None = None
    rivals: tuple[BaselineSet, ...] = ()
    against: PairedDifference | None = None
    texts: tuple[TextCost, ...] = ()
    tasks: tuple[TaskScore, ...] = ()
    warnings: tuple[str, ...] = ()
    why: str = ""
    repaired: Estimate | None = None
    repair: str | None = None
    alike: Estimate | None = None
    zeroed: tuple[str, ...] = ()

    @property
    def compared(self) -> Estimate:
        """The cost by which methods are compared."""
        return self.alike or self.difference

    @property
    def delivered(self) -> Estimate:
        """The cost of what the command exports."""
        return self.repaired or self.difference

    @property
    def size(self) -> int:
        """Number of players removed."""
        return len(self.removed)
