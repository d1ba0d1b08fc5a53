"""The sets of published methods, measured on the calibration text: `baselines.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from layershap.results.result_file import ResultFile

__all__ = ["BASELINE_SETS", "BaselineSets", "Merges", "MethodSets"]

Removed = tuple[int, ...]
Merges = tuple[tuple[int, tuple[int, ...]], ...]
"""(layer that stays, layers merged into it), in order."""


@dataclass(frozen=True)
class MethodSets:
    """The sets of one method and what they took.

    Attributes:
        source: where it was published.
        evaluations: distinct evaluations that the method itself needs.
        tokens: model tokens that it needs.
        budget: evaluations that it might spend, for methods that can spend any number.
        seconds: that it took here.
        sets: removed players by count.
        utilities: on the calibration text by count; None where not finite.
        merges: by count, where removed layers are merged into others; None where they are dropped.
        note: what a reader should know.
    """

    source: str
    evaluations: int
    tokens: int
    budget: int | None
    seconds: float
    sets: Mapping[int, Removed]
    utilities: Mapping[int, float | None]
    merges: Mapping[int, Merges] | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        if set(self.sets) != set(self.utilities):
            raise ValueError("a method lacks a part: sets and utilities have other counts")


@dataclass(frozen=True)
class BaselineSets:
    """The sets of published methods.

    Attributes:
        fingerprint: of the calibration campaign.
        methods: by name.
        utility: the metric that decides; None before anything was measured.
        dense: the whole model's utility; None before anything was measured.
    """

    fingerprint: str
    methods: Mapping[str, MethodSets] = field(default_factory=dict)
    utility: str | None = None
    dense: float | None = None


BASELINE_SETS = ResultFile(BaselineSets, "baselines.json", "baselines")
