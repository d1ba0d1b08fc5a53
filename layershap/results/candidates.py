"""The sets that a search settled on: `candidates.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import model_serializer

from layershap.results.result_file import ResultFile

__all__ = ["CANDIDATES", "CandidateSet", "Candidates", "RepairedSearch"]

Removed = tuple[int, ...]


def _told(content: dict[str, Any]) -> dict[str, Any]:
    """Leave out the repair of what was not repaired."""
    return {k: v for k, v in content.items() if k != "repaired" or v is not None}


@dataclass(frozen=True)
class CandidateSet:
    """A measured set.

    Attributes:
        removed: player indices, ascending.
        utility: on the calibration text; higher is better.
        cost: by how much that is below the whole model's.
        predicted: utility that was expected before it was measured; None where none was.
        source: who found it: a search or a baseline.
        repaired: cost once what is left is repaired, on twice the text; None where not measured.
    """

    removed: Removed
    utility: float
    cost: float
    predicted: float | None
    source: str
    repaired: float | None = None

    @model_serializer(mode="wrap")
    def _without_repair(self, handler: Any) -> dict[str, Any]:
        return _told(handler(self))


@dataclass(frozen=True)
class RepairedSearch:
    """What a search of repaired sets found.

    Attributes:
        fingerprint: of their campaign.
        spent: sets that were measured repaired.
        settled: whether the search had no use for more measurements.
        sets: by count the best of them, best first.
    """

    fingerprint: str
    spent: int
    settled: bool
    sets: Mapping[int, tuple[CandidateSet, ...]]


@dataclass(frozen=True)
class Candidates:
    """What a search found on the calibration text.

    Attributes:
        fingerprint: of the calibration campaign.
        budget: sets that the design and the search might measure together.
        spent: sets that they measured.
        spent_on_baselines: sets that were measured besides, for the baselines and the best repaired
            sets.
        exact: whether every set was measured.
        settled: whether the search had no use for more measurements.
        chance_of_better: by count, at most the chance that a set that was not measured is better.
        limits: that the sets keep to, as a person reads them.
        sets: by count the best measured sets, best first; none where there is no such set.
        baselines: by method and count the sets of the default baselines.
        next: sets that the search would measure next; filled where it could not measure.
        repaired: what is best once it is repaired; None where that was not searched for.
    """

    fingerprint: str
    budget: int
    spent: int
    spent_on_baselines: int
    exact: bool
    settled: bool
    chance_of_better: Mapping[int, float]
    limits: tuple[str, ...]
    sets: Mapping[int, tuple[CandidateSet, ...]]
    baselines: Mapping[str, Mapping[int, Removed]]
    next: tuple[Removed, ...] = ()
    repaired: RepairedSearch | None = None

    @model_serializer(mode="wrap")
    def _without_repair(self, handler: Any) -> dict[str, Any]:
        return _told(handler(self))

    @property
    def chosen(self) -> dict[int, CandidateSet]:
        """The best set of every count that has any: once repaired, where that was searched for."""
        repaired = {} if self.repaired is None else self.repaired.sets
        best = {count: repaired.get(count) or sets for count, sets in self.sets.items()}
        return {count: sets[0] for count, sets in best.items() if sets}


CANDIDATES = ResultFile(Candidates, "candidates.json", "search")
