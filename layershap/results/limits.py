"""Limits that a smaller model must keep to, and by how much a verified set misses them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layershap.errors import UserError
from layershap.results.estimate import Estimate
from layershap.results.frontier import FrontierPoint

__all__ = ["Limits", "Rule", "gibibytes", "loss_text", "rules", "surely", "times"]

GIB = 2**30


@dataclass(frozen=True)
class Limits:
    """What the smaller model must keep to; None where there is no limit.

    Attributes:
        max_loss: nats per token above the whole model, on the held-out text.
        max_perplexity_ratio: the same as a ratio of perplexities.
        min_speedup: of cached decoding, a ratio to the whole model.
        min_prefill_speedup: of reading a prompt, likewise.
        max_params: parameters that remain.
        max_memory: peak GiB while reading a prompt and decoding.
        sure: limits of loss and speed hold at the far end of the 95 % intervals, too.
    """

    max_loss: float | None = None
    max_perplexity_ratio: float | None = None
    min_speedup: float | None = None
    min_prefill_speedup: float | None = None
    max_params: float | None = None
    max_memory: float | None = None
    sure: bool = False

    @property
    def loss(self) -> float:
        """The tighter of the two limits of the loss, in nats per token; infinity without one."""
        ratio = self.max_perplexity_ratio
        return min(
            math.inf if self.max_loss is None else self.max_loss,
            math.inf if ratio is None else math.log(ratio),
        )


@dataclass(frozen=True)
class Rule:
    """One limit.

    Attributes:
        option: as it is given on the command line.
        failure: begins the message where no set keeps to it.
        miss: by how much a point misses it; 0 or less where it keeps to it.
        shown: what a point has instead.
    """

    option: str
    failure: str
    miss: Callable[[FrontierPoint], float]
    shown: Callable[[FrontierPoint], str]


def rules(limits: Limits, sets: Sequence[FrontierPoint]) -> list[Rule]:
    """The limits that are given.

    Args:
        limits: what is wanted.
        sets: the sets that they are about.

    Raises:
        UserError: speed or memory is limited and was not measured.
    """
    found: list[Rule] = []
    for option, given, most in (
        ("--max-loss", limits.max_loss, limits.max_loss),
        ("--max-perplexity-ratio", ratio := limits.max_perplexity_ratio, ratio and math.log(ratio)),
    ):
        if given is not None and most is not None:
            found.append(_loss_rule(option, given, most, limits.sure))
    for option, least, name in (
        ("--min-speedup", limits.min_speedup, "decode"),
        ("--min-prefill-speedup", limits.min_prefill_speedup, "prefill"),
    ):
        if least is not None:
            _check_measured(option, [getattr(point, name) for point in sets])
            found.append(_speed_rule(option, least, name, limits.sure))
    if limits.max_params is not None:
        most_params = limits.max_params
        found.append(
            Rule(
                "--max-params",
                f"--max-params {most_params:g}: no verified set is that small",
                lambda point: point.parameters / most_params - 1,
                lambda point: f"{point.parameters:,} parameters",
            )
        )
    if limits.max_memory is not None:
        most_bytes = limits.max_memory * GIB
        _check_measured("--max-memory", [point.memory for point in sets])
        found.append(
            Rule(
                "--max-memory",
                f"--max-memory {limits.max_memory:g}: no verified set needs so little",
                lambda point: (point.memory or math.inf) / most_bytes - 1,
                lambda point: f"{gibibytes(point)} GiB",
            )
        )
    return found


def _loss_rule(option: str, given: float, most: float, sure: bool) -> Rule:
    def miss(point: FrontierPoint) -> float:
        return (surely(point.loss, upper=True) if sure else point.loss.value) - most

    def shown(point: FrontierPoint) -> str:
        text = f"a cost of {loss_text(point)}"
        if option == "--max-loss":
            return text
        return f"{text}, a ratio of {math.exp(min(point.loss.value, 700.0)):.4g}"

    return Rule(option, f"{option} {given:g}: no verified set costs so little", miss, shown)


def _speed_rule(option: str, least: float, name: str, sure: bool) -> Rule:
    def miss(point: FrontierPoint) -> float:
        ratio: Estimate = getattr(point, name)
        return least - (surely(ratio, upper=False) if sure else ratio.value)

    return Rule(
        option,
        f"{option} {least:g}: no verified set is that fast",
        miss,
        lambda point: times(getattr(point, name)),
    )


def _check_measured(option: str, found: Sequence[object]) -> None:
    if any(entry is None for entry in found):
        raise UserError(
            f"{option}: this was not measured; run layershap verify again, with speed_rounds of at "
            "least 1 in run.toml"
        )


def surely(measured: Estimate, *, upper: bool) -> float:
    """The far end of the interval; infinitely far where there is none."""
    edge = measured.upper if upper else measured.lower
    if measured.has_interval:
        return edge
    return math.inf if upper else -math.inf


def times(ratio: Estimate) -> str:
    """A ratio for people."""
    return f"{ratio.value:.2f}x"


def gibibytes(point: FrontierPoint) -> str:
    """Peak memory in GiB for people."""
    memory = point.memory or 0
    return f"{memory / GIB:.2f}" if memory >= GIB else f"{memory / GIB:.4f}"


def loss_text(point: FrontierPoint, loss: Estimate | None = None) -> str:
    """Loss in nats per token for people, with its interval.

    Args:
        point: whose.
        loss: another one than the point's.
    """
    loss = loss or point.loss
    if not loss.has_interval:
        return f"{loss.value:+.4f}"
    return f"{loss.value:+.4f} ({loss.lower:.4f} to {loss.upper:.4f})"
