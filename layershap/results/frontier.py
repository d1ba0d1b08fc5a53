"""Quality against what a smaller model saves: every verified set of every method as a point.

A set is on the frontier of an axis unless another set costs less and is at least as far on that
axis. Speeds are noisy: where the measured intervals of two sets meet and the cheaper one is not
the larger one, neither counts as faster, so that chance puts no set on the frontier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from layershap.results.estimate import Estimate
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
        loss: held-out nats per token above the whole model.
        parameters: that remain.
        parameter_share: of the whole model's.
        prefill: tokens per second of a prompt, a ratio to the whole model's; None where not timed.
        decode: the same of cached decoding.
        memory: peak bytes of prefill and decoding; None where not measured.
        merged: whether layers are merged into others instead of dropped, which no export writes.
        on_frontier: axes on which no other set is better.
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


def points(recommendations: Mapping[str, Any]) -> list[FrontierPoint]:
    """Every verified set with a finite loss, the whole model first, then by count, ours first.

    Args:
        recommendations: content of `recommendations.json`.
    """
    players, dense = recommendations["players"], recommendations["dense"]
    found = [_point(WHOLE, {**dense, "removed": [], "parameters_saved": 0}, players, dense)]
    for item in recommendations["recommendations"]:
        found.append(_point(OWN, item, players, dense))
        for rival in item["baselines"]:
            # Files of earlier versions say it of our own sets only.
            saved = rival.get("parameters_saved")
            if saved is None and "speed" in rival:
                saved = dense["parameters"] - rival["speed"]["parameters"]
            if saved is not None:
                rival = {**rival, "parameters_saved": saved}
                found.append(_point(rival["method"], rival, players, dense))
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
    method: str, item: Mapping[str, Any], players: Sequence[str], dense: Mapping[str, Any]
) -> FrontierPoint:
    removed = tuple(item["removed"])
    remain = dense["parameters"] - item["parameters_saved"]
    speed = item.get("speed", {})
    ends = (item["difference"], item["difference_lower"], item["difference_upper"])
    return FrontierPoint(
        method=method,
        count=len(removed),
        removed=removed,
        names=removal_text(players, removed),
        loss=Estimate(*(math.nan if end is None else float(end) for end in ends)),
        parameters=remain,
        parameter_share=remain / max(1, dense["parameters"]),
        prefill=_ratio(speed, "prefill"),
        decode=_ratio(speed, "decode"),
        memory=speed.get("peak_bytes"),
        merged=bool(item.get("merges")),
    )


def _ratio(speed: Mapping[str, Any], name: str) -> Estimate | None:
    if f"{name}_ratio" not in speed:
        return None
    # Too few rounds have no interval of their median.
    return Estimate(speed[f"{name}_ratio"][1], *(speed.get(f"{name}_interval") or ()))
