"""Quality against what a smaller model saves: every verified set of every method as a point.

A set is on the frontier of an axis unless another set costs less and is at least as far on that
axis. Speeds are noisy: where the measured intervals of two sets meet and the cheaper one is not
the larger one, neither counts as faster, so that chance puts no set on the frontier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from layershap.results.estimate import Estimate
from layershap.results.recommendations import BaselineVariant, Recommendations, VerifiedModel
from layershap.results.set_text import removal_text

__all__ = [
    "AXES",
    "OWN",
    "WHOLE",
    "Axis",
    "FrontierPoint",
    "marked",
    "non_dominated",
    "points",
]

Axis = Literal["count", "parameters", "decode", "prefill", "memory"]

OWN = "layershap"
"""Method of the sets that the search chose."""
WHOLE = "the whole model"
"""Method of the point that removes nothing."""


@dataclass(frozen=True)
class FrontierPoint:
    """One verified set of one method.

    Attributes:
        method: who chose it: "layershap", a baseline's name, or "the whole model".
        count: players removed.
        removed: their indices, ascending.
        names: the same as `--remove` takes them.
        loss: held-out nats per token above the whole model, repaired alike where sets were.
        deleted: the same without repair; None where that is `loss`.
        parameters: that remain.
        parameter_share: of the whole model's.
        prefill: tokens per second of a prompt, a ratio to the whole model's; None where not timed.
        decode: the same of cached decoding.
        memory: peak bytes of prefill and decoding; None where not measured.
        merged: whether layers are merged into others instead of dropped.
        on_frontier: axes on which no other set is better.
        zeroed: halves of layers that an export makes zero, which saves nothing.
    """

    method: str
    count: int
    removed: tuple[int, ...]
    names: str
    loss: Estimate
    parameters: int
    parameter_share: float
    prefill: Estimate | None = None
    decode: Estimate | None = None
    memory: int | None = None
    merged: bool = False
    on_frontier: frozenset[str] = frozenset()
    deleted: Estimate | None = None
    zeroed: tuple[str, ...] = ()

    @property
    def measured(self) -> bool:
        """Whether its speed was measured."""
        return self.decode is not None

    @property
    def own(self) -> bool:
        """Whether the search of this run chose it."""
        return self.method == OWN

    def gain(self, axis: Axis) -> Estimate | None:
        """How far it is on an axis, more being better; None where that was not measured."""
        if axis == "count":
            return Estimate(self.count)
        if axis == "parameters":
            return Estimate(-self.parameters)
        if axis == "memory":
            return None if self.memory is None else Estimate(-self.memory)
        return self.decode if axis == "decode" else self.prefill


AXES: dict[Axis, str] = {
    "count": "players removed",
    "parameters": "parameters",
    "decode": "decoding speed",
    "prefill": "prefill speed",
    "memory": "peak memory",
}


def points(verified: Recommendations) -> list[FrontierPoint]:
    """Return every verified set with a finite loss, the whole model first, then by count.

    Ours come before the baselines' of their count.

    Args:
        verified: what a run has verified.
    """
    whole = _point(WHOLE, (), verified.dense, verified)
    found = [] if whole is None else [whole]
    for item in verified.variants():
        method = item.method if isinstance(item, BaselineVariant) else OWN
        point = _point(method, item.removed, item, verified)
        if point is not None:
            found.append(point)
    return marked([point for point in found if math.isfinite(point.loss.value)])


def marked(points: Sequence[FrontierPoint]) -> list[FrontierPoint]:
    """The points, each with the axes on which no other one is better."""
    best = {axis: set(map(id, non_dominated(points, axis))) for axis in AXES}
    return [
        replace(point, on_frontier=frozenset(axis for axis in AXES if id(point) in best[axis]))
        for point in points
    ]


def non_dominated(points: Sequence[FrontierPoint], axis: Axis) -> list[FrontierPoint]:
    """The points that no other one beats, in their order; those not measured on the axis are out.

    Points that are equally good, the same set found by two methods say, are all kept.
    """
    able = [point for point in points if point.gain(axis) is not None]
    return [p for p in able if not any(_dominates(q, p, axis) for q in able)]


def _dominates(q: FrontierPoint, p: FrontierPoint, axis: Axis) -> bool:
    ahead, behind = q.gain(axis), p.gain(axis)
    if ahead is None or behind is None or q.loss.value > p.loss.value:
        return False
    further = ahead.value > behind.value
    if axis in ("decode", "prefill"):
        meet = ahead.high >= behind.low and behind.high >= ahead.low
        if q.loss.value < p.loss.value and meet and q.parameters <= p.parameters:
            return True
        further = further and not (meet and q.parameters == p.parameters)
    if q.loss.value == p.loss.value:
        return further
    return further or ahead.value == behind.value


def _point(
    method: str, removed: tuple[int, ...], item: VerifiedModel, verified: Recommendations
) -> FrontierPoint | None:
    dense, speed = verified.dense, item.speed
    saved = 0 if method == WHOLE else item.parameters_saved
    if saved is None and speed is not None:  # files of early versions say it of our own sets only
        saved = dense.parameters - speed.parameters
    if saved is None:
        return None
    remain = dense.parameters - saved
    return FrontierPoint(
        method=method,
        count=len(removed),
        removed=removed,
        names=removal_text(verified.players, removed),
        loss=item.compared,
        parameters=remain,
        parameter_share=remain / max(1, dense.parameters),
        prefill=None if speed is None else speed.ratio("prefill"),
        decode=None if speed is None else speed.ratio("decode"),
        memory=None if speed is None else speed.peak_bytes,
        merged=isinstance(item, BaselineVariant) and bool(item.merges),
        deleted=None if item.repaired is None else item.estimate,
        zeroed=item.zeroed,
    )
