"""Who is verified: for each count the set that the search chose, and every baseline's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layershap.runs.workspace import CALIBRATION, Workspace

__all__ = ["Contenders", "Variant", "read_contenders"]

Merges = tuple[tuple[int, tuple[int, ...]], ...]


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


def read_contenders(work: Workspace, candidates: Mapping[str, Any]) -> Contenders:
    """The sets of `candidates.json` and, where `layershap baselines` was run, of `baselines.json`.

    Sets of a method that both files have are taken from `baselines.json`. Baselines' sets of other
    counts than the search's are left out: nothing stands beside them.

    Args:
        work: the run.
        candidates: content of `candidates.json`.
    """
    chosen = {int(k): Variant(tuple(sets[0]["removed"])) for k, sets in candidates["sets"].items()}
    rivals: dict[str, dict[int, Variant]] = {}
    for name, sets in candidates["baselines"].items():
        rivals[name] = {int(k): Variant(tuple(removed)) for k, removed in sets.items()}
    for name, method in _published(work).items():
        found = rivals.setdefault(name, {})
        merges = method["merges"] or {}
        for count, removed in method["sets"].items():
            found[int(count)] = Variant(tuple(removed), _merges(merges.get(count) or ()))
    return Contenders(
        chosen,
        {
            name: {count: by[count] for count in chosen if count in by}
            for name, by in rivals.items()
        },
    )


def _published(work: Workspace) -> Mapping[str, Any]:
    path = work.directory.baselines
    if not path.exists():
        return {}
    content = work.directory.read_json(path, "baselines")
    if content["fingerprint"] != work.campaign(CALIBRATION).fingerprint:
        work.console.warn(
            f"{path} belongs to other measurements and is left out; remove it and run layershap "
            f"baselines {work.directory.path}"
        )
        return {}
    return content["methods"]


def _merges(steps: Sequence[Sequence[Any]]) -> Merges:
    return tuple((int(into), tuple(layers)) for into, layers in steps)
