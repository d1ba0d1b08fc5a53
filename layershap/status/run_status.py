"""Where a run stands, read from its files while it may be going on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.set_text import typed
from layershap.runs.command_line import run_command
from layershap.runs.config_file import read_config
from layershap.runs.directory import RunDirectory
from layershap.runs.incumbent import Incumbent
from layershap.runs.recorded import CALIBRATION, RecordedRun
from layershap.runs.stages import STAGES
from layershap.runs.utilities import parse_utilities
from layershap.status.incumbents import incumbents
from layershap.status.process_info import ProcessInfo, read_process_info
from layershap.status.progress import finished_stages, stage_progress
from layershap.terminal.console import Console, clock
from layershap.terminal.progress import Progress

if TYPE_CHECKING:
    from cluster import Campaign, Ledger

__all__ = ["RunStatus", "standing"]

FINISHED = "finished"


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands.

    Attributes:
        run: its directory.
        model: what a person calls the model.
        players: names in depth order.
        noun: what a player is called.
        command: the command that begins or continues the run.
        running: whether a process is at work on it; on another machine, whether it was heard of
            in the last minutes.
        process: its number; None where there is none.
        host: name of that other machine; None for this one.
        task: what it does in this stage; None where it does not say.
        stage: the stage that goes on or comes next, or ``"finished"``.
        finished: the stages that are done, in order.
        evaluations: distinct coalitions measured on the calibration text, baselines' included.
        budget: how many the design and the search may measure.
        done: steps of this stage that are done; None where they cannot be counted.
        total: steps of this stage, at most.
        rate: coalitions a second lately; None while nothing is measured.
        seconds_left: of measuring in this stage; None where it cannot be told.
        worker_seconds: time that workers have spent on all measurements.
        last_measured: seconds since the epoch; None where nothing was.
        best: the best set so far of each number of players.
        concerns: what went wrong, a sentence each.
        sentence: all of it in one sentence.
        next: what to do: a command, or a sentence while the run goes on.
    """

    run: str
    model: str
    players: tuple[str, ...]
    noun: str
    command: str
    running: bool
    process: int | None
    host: str | None
    task: str | None
    stage: str
    finished: tuple[str, ...]
    evaluations: int
    budget: int
    done: int | None
    total: int | None
    rate: float | None
    seconds_left: float | None
    worker_seconds: float
    last_measured: float | None
    best: tuple[Incumbent, ...]
    concerns: tuple[str, ...]
    sentence: str
    next: str

    def __str__(self) -> str:
        return self.sentence

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return asdict(self)


def standing(directory: RunDirectory, now: float | None = None) -> RunStatus:
    """Look at a run without disturbing it: nothing is written, no lock is taken.

    Args:
        directory: of the run.
        now: seconds since the epoch; the present when omitted.

    Raises:
        UserError: there is no run, or one of its files is damaged.
        cluster.LedgerError: the ledger cannot be read.
    """
    from cluster import Ledger

    now = time.time() if now is None else now
    config = read_config(directory.config)
    with Ledger(directory.ledger, readonly=True) as ledger:
        run = RecordedRun(config, directory, Console(quiet=True), ledger)
        campaign, plan = run.campaign(CALIBRATION), run.plan
        activity = read_process_info(directory, ledger, now)
        finished = finished_stages(run)
        stage = next((name for name in STAGES if name not in finished), FINISHED)
        progress, what = stage_progress(stage, run), "sets"
        unit = parse_utilities(config.utilities)[0].unit
        best = incumbents(directory, campaign, plan.counts, unit, set(finished))
        evaluations, concerns = campaign.counts().total, _concerns(campaign, ledger)
    beat = activity.beat if activity.running else None
    task = None if beat is None or not beat.progress or not beat.progress.total else beat.progress
    if progress is None or (task is not None and task.rate is None):
        activity = replace(activity, rate=None)  # nothing is measured just now
    left = None
    if activity.rate and progress is not None:
        left = max(0, progress.total - progress.done) / activity.rate
    elif task is not None:
        progress, what, left = task, "steps", task.seconds_left
    command = run_command(config, directory.path)
    return RunStatus(
        run=str(directory.path),
        model=config.title,
        players=campaign.players,
        noun=config.noun,
        command=command,
        running=activity.running,
        process=activity.process,
        host=activity.host,
        task=None if beat is None else beat.task,
        stage=stage,
        finished=finished,
        evaluations=evaluations,
        budget=plan.budget,
        done=None if progress is None else progress.done,
        total=None if progress is None else progress.total,
        rate=activity.rate,
        seconds_left=left,
        worker_seconds=activity.worker_seconds,
        last_measured=activity.last_measured,
        best=best,
        concerns=concerns,
        sentence=_sentence(stage, activity, progress, what, left, now),
        next=_next(stage, activity, directory, command),
    )


def _sentence(
    stage: str,
    activity: ProcessInfo,
    progress: Progress | None,
    what: str,
    left: float | None,
    now: float,
) -> str:
    if stage == FINISHED:
        return "Finished: every stage is done."
    counted = ""
    if progress is not None:
        bound = "of at most" if stage == "search" and what == "sets" else "of"
        counted = f", {progress.done:,} {bound} {progress.total:,} {what}"
    if not activity.running:
        where = ""
        if activity.host is not None:
            ago = clock(activity.silent_seconds(now))
            where = f" (process {activity.process} on {activity.host} gave no sign for {ago})"
        return f"Not running{where}; stopped in {stage}{counted}, not finished."
    pace = "" if activity.rate is None else f", {activity.rate:.1f} a second"
    time_left = "" if left is None else f", {clock(left)} left"
    where = f"process {activity.process}"
    if activity.host is not None:
        where += f" on {activity.host}, last sign {clock(activity.silent_seconds(now))} ago"
    task = f"; {activity.beat.task}" if activity.beat and activity.beat.task else ""
    return f"Running ({where}): {stage}{counted}{pace}{time_left}{task}."


def _next(stage: str, activity: ProcessInfo, directory: RunDirectory, command: str) -> str:
    if activity.running and stage != FINISHED:
        return "Wait; Ctrl-C there stops cleanly, and the same command goes on from there."
    if stage == FINISHED:
        best = RECOMMENDATIONS.read(directory.path).put_forward()
        return typed("search", directory.path) if best is None else best.export
    if stage == "measure":
        return command
    return typed(stage, directory.path)


def _concerns(campaign: Campaign, ledger: Ledger) -> tuple[str, ...]:
    counts, found = campaign.counts(), []
    dense = np.ones((1, len(campaign.players)), dtype=bool)
    if not campaign.missing(dense)[0] and not campaign.read(dense).ok[0]:
        found.append("The loss of the whole model is not finite; try --dtype float32.")
    if counts.non_finite:
        found.append(f"{counts.non_finite:,} sets have a loss that is not finite.")
    if counts.failed:
        found.append(f"{counts.failed:,} sets crashed their workers and were quarantined.")
    deaths = _times(ledger, "worker died")
    if deaths:
        found.append(f"Workers died {deaths} times; what they had not finished is measured again.")
    stopped = ledger.events("run stopped")
    if stopped:
        reason = stopped[-1].detail.get("reason", "")
        found.append(f"Measuring was stopped {_count(stopped)}, the last time by {reason}.")
    return tuple(found)


def _times(ledger: Ledger, kind: str) -> int:
    return len(ledger.events(kind))


def _count(events: Sequence[Any]) -> str:
    return "once" if len(events) == 1 else f"{len(events)} times"
