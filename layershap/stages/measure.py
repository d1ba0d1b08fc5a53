"""Stage 1: measure the design's coalitions on the cluster, choosing a part of them on the way."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from cluster import Summary
from decoder import Workload
from layershap.errors import RunFailed
from layershap.runs.design import Round, joined, read_rounds, write_rounds
from layershap.runs.plan import Plan, make_plan
from layershap.runs.recorded import CALIBRATION
from layershap.runs.workspace import Workspace
from layershap.stages.choosing import next_round
from layershap.stages.constraints import check_targets
from layershap.terminal.console import clock
from layershap.terminal.progress import Counted, Progress
from shapley import FunctionGame, Game

__all__ = ["counted_game", "measure", "measure_rounds"]


def measure(work: Workspace) -> Plan:
    """Measure what is missing of the design, round by round, and write `run.toml`.

    Raises:
        RunFailed: the dense model's own loss is not finite.
    """
    plan = make_plan(work.config, len(work.players))
    check_targets(work)
    work.directory.create()
    work.campaign(CALIBRATION)  # refuses a directory of other measurements before it is changed
    work.directory.write_config(work.config)
    with work.recorded.stage("measure"):
        _measure(work, plan)
    return plan


def _measure(work: Workspace, plan: Plan) -> None:
    say = work.console.say
    say(f"{plan.n} {work.config.noun}s, {', '.join(_described(work.workload(CALIBRATION)))}")
    work.describe()
    for alarm in work.texts.alarms:
        work.console.alarm(alarm)
    for warning in work.texts.warnings:
        work.console.warn(warning)
    if work.config.measure.budget is not None and work.config.measure.budget > plan.budget:
        work.console.warn(
            f"--budget {work.config.measure.budget} is more than all {plan.budget} sets of "
            f"{plan.n} {work.config.noun}s: measuring all of them, the values will be exact"
        )
    if plan.adaptive:
        rounds = read_rounds(work.recorded, plan)
        rows = joined(rounds, plan.n)[: plan.size] if rounds else plan.opening
        _say_known(work, rows, plan.size)
        summaries = measure_rounds(work, plan, rounds, plan.size)
    else:
        if work.config.measure.design == "adaptive" and not plan.exact:
            say("the budget leaves no rounds of its own choice: the design is fixed")
        _say_known(work, plan.design, plan.size)
        summaries = _measured(work, plan.design, "measuring")
    _tell(work, summaries)
    _check_dense(work, plan)


def measure_rounds(work: Workspace, plan: Plan, rounds: list[Round], size: int) -> list[Summary]:
    """Measure what is missing of these rounds, then choose and measure more up to a size.

    Args:
        work: the run.
        plan: its plan.
        rounds: as read; those that are chosen are added, and written before they are measured.
        size: coalitions of the whole design.

    Raises:
        RunFailed: the dense model's own loss is not finite.
    """
    summaries = _measured(work, joined(rounds, plan.n)[:size], "measuring")
    while (found := next_round(work.recorded, plan, rounds, size)) is not None:
        rounds.append(found)
        write_rounds(work.recorded, rounds)
        number, count = len(rounds), len(found.coalitions)
        if found.kind == "chosen":
            work.console.say(f"round {number}: {count} sets chosen where they tell most")
        elif found.kind == "fixed":
            work.console.say(
                f"round {number}: {count} sets of the fixed design; too few losses are "
                f"finite to choose by (the model without any {work.config.noun} needs one)"
            )
        label = "measuring" if number == 1 else f"round {number}"
        summaries += _measured(work, found.coalitions, label)
        _check_dense(work, plan)
    return summaries


def _measured(work: Workspace, rows: Bool[np.ndarray, "k n"], label: str) -> list[Summary]:
    summary = work.measure(CALIBRATION, rows, label) if len(rows) else None
    return [] if summary is None else [summary]


def _say_known(work: Workspace, rows: Bool[np.ndarray, "k n"], size: int) -> None:
    known = int((~work.campaign(CALIBRATION).missing(rows)).sum())
    if known:
        work.console.say(f"{known} of {size} sets are in the ledger already")


def _tell(work: Workspace, summaries: list[Summary]) -> None:
    """Tell what was measured, how fast, and what went wrong."""
    if summaries:
        count = sum(summary.measured for summary in summaries)
        seconds = sum(summary.seconds for summary in summaries)
        measuring = sum(summary.measured / summary.rate for summary in summaries if summary.rate)
        rate = count / measuring if measuring else 0.0
        work.console.say(f"{count} sets measured in {clock(seconds)} ({rate:.1f} a second)")
        if best := work.incumbent.now():
            work.console.say(best)
    for summary in summaries:
        for sentence in summary.sentences():
            work.console.warn(sentence)
    counts = work.campaign(CALIBRATION).counts()
    if counts.non_finite:
        work.console.warn(
            f"{counts.non_finite} sets have a loss that is not finite; they are kept in the "
            "ledger and left out of every fit"
        )
    if counts.failed and not any(summary.quarantined for summary in summaries):
        work.console.warn(f"{counts.failed} sets crashed their workers and were quarantined")


def _check_dense(work: Workspace, plan: Plan) -> None:
    dense = work.campaign(CALIBRATION).read(np.ones((1, plan.n), dtype=bool))
    if not dense.ok[0]:
        raise RunFailed(
            f"model {work.config.title}: the loss of the whole model is not finite on this text; "
            "try --dtype float32"
        )


def _described(workload: Workload) -> list[str]:
    parts = []
    if workload.text is not None:
        rows, length = workload.text.tokens.shape
        share = "" if workload.score_share == 1 else f", {workload.score_share:.0%} of them scored"
        parts.append(f"{rows} x {length} tokens of {workload.text.source}{share}")
    return parts + [f"{len(t.gold_row)} items of {t.source}" for t in workload.tasks]


def counted_game(game: Game, total: int, update: Callable[[Counted], None] | None) -> Game:
    """A game that tells how many of so many coalitions it was asked for."""
    began, done = time.monotonic(), 0

    def utilities(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        nonlocal done
        found = game(coalitions)
        done = min(total, done + len(coalitions))
        if update is not None:
            update(Progress.since(began, done, total))
        return found

    return FunctionGame(utilities, game.players)
