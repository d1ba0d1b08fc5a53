"""Which stages of a run are finished, and how far the present one is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layershap.results.candidates import CANDIDATES
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.surrogate_fit import SURROGATE_FIT
from layershap.results.values import VALUES
from layershap.runs.design import measured_of_design
from layershap.runs.recorded import CALIBRATION, FINISHED, HELDOUT, STARTED, RecordedRun
from layershap.runs.stages import STAGES
from layershap.terminal.progress import Progress

if TYPE_CHECKING:
    from cluster import Ledger

__all__ = ["finished_stages", "stage_progress"]


def finished_stages(run: RecordedRun) -> tuple[str, ...]:
    """Look up the stages that are done, in order; those after one that is not are left out.

    A stage is done when its last record in the ledger is that it was finished, after every stage
    before it was, and what it left is still there. Stages without any record, of runs of earlier
    versions, are told by their files.

    Args:
        run: whose.
    """
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    for kind, times in ((STARTED, began), (FINISHED, ended)):
        for event in run.ledger.events(kind):
            times[str(event.detail.get("stage"))] = event.time
    done: list[str] = []
    before = 0.0
    for stage in STAGES:
        if stage in began:
            finished = ended.get(stage, 0.0) >= max(before, began[stage]) and _left(stage, run)
            before = ended.get(stage, 0.0)
        else:
            finished = _is_there(stage, run)
        if not finished:
            break
        done.append(stage)
    return tuple(done)


def _left(stage: str, run: RecordedRun) -> bool:
    """Whether what a stage left is still there."""
    directory = run.directory
    if stage == "measure":
        return measured_of_design(run) >= run.plan.size
    left = {
        "fit": SURROGATE_FIT.path(directory.path),
        "values": directory.values,
        "search": directory.candidates,
        "verify": directory.recommendations,
        "report": directory.report,
    }
    return left[stage].exists()


def _is_there(stage: str, run: RecordedRun) -> bool:
    """Whether a stage has left its file, for the measurements that are there."""
    path, own = run.directory.path, run.campaign(CALIBRATION).fingerprint
    if stage == "measure":
        return measured_of_design(run) >= run.plan.size
    if stage == "fit":
        return SURROGATE_FIT.found(path) is not None
    if stage == "values":
        values = VALUES.found(path)
        return values is not None and values.fingerprint == own
    searched = CANDIDATES.found(path)
    if stage == "search" or searched is None:
        return searched is not None and searched.fingerprint == own
    if stage == "verify":
        verified = RECOMMENDATIONS.found(path)
        sets = [] if verified is None else [item.removed for item in verified.recommendations]
        return sets == [best.removed for best in searched.chosen.values()]
    return run.directory.report.exists()


def stage_progress(stage: str, run: RecordedRun) -> Progress | None:
    """Tell how many sets of a stage are measured, from the ledger and the files.

    Args:
        stage: which; the search may end before all of its sets.
        run: whose.

    Returns:
        None where the stage has no sets to count.
    """
    plan, ledger = run.plan, run.ledger
    if stage == "measure":
        return Progress(measured_of_design(run), plan.size)
    if stage == "search" and not plan.exact:
        extra = run.campaign(CALIBRATION).counts().total - plan.size
        return Progress(min(max(0, extra), plan.for_search), plan.for_search)
    searched = CANDIDATES.found(run.directory.path) if stage == "verify" else None
    if searched is None:
        return None
    sets = {(), *(best.removed for best in searched.chosen.values())}
    sets |= {removed for by in searched.baselines.values() for removed in by.values()}
    return Progress(min(_total(ledger, HELDOUT), len(sets)), len(sets))


def _total(ledger: Ledger, name: str) -> int:
    return ledger.campaign(name).counts().total if name in ledger.campaign_names() else 0
