"""Which stages of a run are finished, and how far the present one is, from what lies on the disk.

A stage is finished when what it wrote belongs to the measurements and to the stages before it. In a
directory that a `layershap run` is at work on, it must also have been written since that began.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from layershap.runs.directory import RunDirectory
from layershap.runs.plan import Plan
from layershap.runs.stages import STAGES
from layershap.status.process_info import ProcessInfo

if TYPE_CHECKING:
    from cluster import Campaign, Ledger

__all__ = ["StageProgress", "finished_stages", "stage_progress"]


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is.

    Attributes:
        done: how many of its steps are done; None where they cannot be counted.
        total: how many there are.
        what: what a step is.
        at_most: whether it may end before.
    """

    done: int | None = None
    total: int | None = None
    what: str = "sets"
    at_most: bool = False


def finished_stages(
    directory: RunDirectory, plan: Plan, campaign: Campaign, activity: ProcessInfo
) -> tuple[str, ...]:
    """Returns the stages that are done, in order; those after one that is not are left out."""
    names = list(STAGES)
    if activity.verb in names:  # a single stage runs: all before it are done
        return tuple(names[: names.index(activity.verb)])
    since = activity.since if activity.verb == "run" else 0.0
    values = _content(directory.values, since)
    searched = _content(directory.candidates, since)
    verified = _content(directory.recommendations, since)
    own = campaign.fingerprint
    finished = {
        "measure": _measured(directory, plan, campaign) >= plan.size,
        "fit": _content(directory.surrogate / "surrogate.json", since) is not None,
        "values": values is not None and values.get("fingerprint") == own,
        "search": searched is not None
        and searched.get("fingerprint") == own
        and searched.get("budget") == plan.budget,
        "verify": verified is not None
        and searched is not None
        and _verified_sets(verified) == _chosen_sets(searched),
        "report": _written(directory.report, since),
    }
    reached = next((place for place, name in enumerate(names) if not finished[name]), len(names))
    return tuple(names[:reached])


def stage_progress(
    stage: str, directory: RunDirectory, plan: Plan, ledger: Ledger
) -> StageProgress:
    """Returns how far a stage is, by what lies on the disk."""
    if stage == "measure":
        done = _measured(directory, plan, ledger.campaign("calibration"))
        return StageProgress(done, plan.size)
    if stage == "search" and not plan.exact:
        extra = ledger.campaign("calibration").counts().total - plan.size
        return StageProgress(min(max(0, extra), plan.for_search), plan.for_search, at_most=True)
    if stage == "verify" and directory.candidates.exists():
        content = directory.read_json(directory.candidates, "search")
        sets = {(), *_chosen_sets(content)}
        sets |= {tuple(r) for by in content["baselines"].values() for r in by.values()}
        known = "heldout" in ledger.campaign_names()
        done = ledger.campaign("heldout").counts().total if known else 0
        return StageProgress(min(done, len(sets)), len(sets), "sets")
    return StageProgress()


def _measured(directory: RunDirectory, plan: Plan, campaign: Campaign) -> int:
    """How many coalitions of the design the ledger has."""
    rows = _design(directory, plan)
    return int((~campaign.missing(rows)).sum())


def _design(directory: RunDirectory, plan: Plan) -> Bool[np.ndarray, "m n"]:
    """The coalitions chosen so far, at most as many as the plan asks for."""
    content = _content(directory.design, 0.0)
    if not plan.adaptive or content is None:
        return plan.opening
    texts = [text for entry in content["rounds"] for text in entry["coalitions"]]
    rows = np.array([[digit == "1" for digit in text] for text in texts], dtype=bool)
    return rows.reshape(-1, plan.n)[: plan.size]


def _chosen_sets(candidates: dict[str, Any]) -> list[tuple[int, ...]]:
    return [tuple(sets[0]["removed"]) for sets in candidates["sets"].values() if sets]


def _verified_sets(recommendations: dict[str, Any]) -> list[tuple[int, ...]]:
    return [tuple(item["removed"]) for item in recommendations["recommendations"]]


def _written(path: Path, since: float) -> bool:
    try:
        return path.stat().st_mtime >= since
    except OSError:
        return False


def _content(path: Path, since: float) -> dict[str, Any] | None:
    """A JSON file that was written since; None where it is missing or damaged."""
    if not _written(path, since):
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
