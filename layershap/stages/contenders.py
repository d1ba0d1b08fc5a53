"""Who is verified: for each count the set that the search chose, and every baseline's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layershap.results.baseline_sets import BASELINE_SETS, Merges, MethodSets
from layershap.results.candidates import Candidates
from layershap.results.set_text import typed
from layershap.runs.recorded import CALIBRATION
from layershap.runs.workspace import Workspace

__all__ = ["Contenders", "Variant", "read_contenders"]


@dataclass(frozen=True)
class Variant:
    """One smaller model.

    Attributes:
        removed: indices of the players that go.
        merges: (layer that stays, layers merged into it), in order, where the removed layers are
            merged instead of dropped; else empty.
    """

    removed: tuple[int, ...] = ()
    merges: Merges = ()


@dataclass(frozen=True)
class Contenders:
    """Variants by count of removed players.

    Attributes:
        chosen: the search's best set.
        rivals: by baseline; one may lack a count.
    """

    chosen: Mapping[int, Variant]
    rivals: Mapping[str, Mapping[int, Variant]]

    @property
    def variants(self) -> list[Variant]:
        """All of them, each once, the whole model first."""
        rivals = (variant for by in self.rivals.values() for variant in by.values())
        return list(dict.fromkeys([Variant(), *self.chosen.values(), *rivals]))


def read_contenders(work: Workspace, candidates: Candidates) -> Contenders:
    """The sets of `candidates.json` and, where `layershap baselines` was run, of `baselines.json`.

    Sets of a method that both files have are taken from `baselines.json`. Baselines' sets of other
    counts than the search's are left out: nothing stands beside them.

    Args:
        work: the run.
        candidates: what the search settled on.
    """
    chosen = {count: Variant(best.removed) for count, best in candidates.chosen.items()}
    rivals: dict[str, dict[int, Variant]] = {}
    for name, sets in candidates.baselines.items():
        rivals[name] = {count: Variant(removed) for count, removed in sets.items()}
    for name, method in _published(work).items():
        found = rivals.setdefault(name, {})
        merges = method.merges or {}
        for count, removed in method.sets.items():
            found[count] = Variant(removed, merges.get(count, ()))
    return Contenders(
        chosen,
        {
            name: {count: by[count] for count in chosen if count in by}
            for name, by in rivals.items()
        },
    )


def _published(work: Workspace) -> Mapping[str, MethodSets]:
    found = BASELINE_SETS.found(work.directory.path)
    if found is None:
        return {}
    if found.fingerprint != work.campaign(CALIBRATION).fingerprint:
        work.console.warn(
            f"{work.directory.baselines} belongs to other measurements and is left out; remove it "
            f"and run {typed('baselines', work.directory.path)}"
        )
        return {}
    return found.methods
