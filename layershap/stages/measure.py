"""Stage 1: measure the design's coalitions on the cluster."""

from __future__ import annotations

import numpy as np

from layershap.console import clock
from layershap.errors import RunFailed
from layershap.stages.plan import Plan, make_plan
from layershap.workspace import CALIBRATION, Workspace
from llm import Workload
from shapley import FunctionGame, Game

__all__ = ["measure", "measured_game"]


def measure(work: Workspace) -> Plan:
    """Measure what is missing of the design, and write `run.toml`.

    Raises:
        RunFailed: the dense model's own loss is not finite.
    """
    plan = make_plan(work.config, len(work.players))
    work.directory.create()
    campaign = work.campaign(CALIBRATION)
    work.directory.write_config(work.config)
    say = work.console.say
    say(f"{plan.n} {work.config.noun}s, {', '.join(_described(work.workload(CALIBRATION)))}")
    for warning in work.texts.warnings:
        work.console.warn(warning)
    if work.config.budget is not None and work.config.budget > plan.budget:
        work.console.warn(
            f"--budget {work.config.budget} is more than all {plan.budget} coalitions of "
            f"{plan.n} {work.config.noun}s: measuring all of them, the values will be exact"
        )
    known = int((~campaign.missing(plan.design)).sum())
    if known:
        say(f"{known} of {len(plan.design)} coalitions are in the ledger already")
    summary = work.measure(CALIBRATION, plan.design, "measuring")
    if summary is not None:
        say(
            f"{summary.measured} coalitions measured in {clock(summary.seconds)} "
            f"({summary.rate:.1f} a second)"
        )
        for sentence in summary.sentences():
            work.console.warn(sentence)
    counts = campaign.counts()
    if counts.non_finite:
        work.console.warn(
            f"{counts.non_finite} coalitions have a loss that is not finite; they are kept in the "
            "ledger and left out of every fit"
        )
    if counts.failed and (summary is None or not summary.set_aside):
        work.console.warn(f"{counts.failed} coalitions crashed their workers and were set aside")
    dense = campaign.read(np.ones((1, plan.n), dtype=bool))
    if not dense.ok[0]:
        raise RunFailed(
            f"model {work.config.title}: the loss of the whole model is not finite on this text; "
            "try --dtype float32"
        )
    return plan


def _described(workload: Workload) -> list[str]:
    parts = []
    if workload.text is not None:
        rows, length = workload.text.tokens.shape
        share = "" if workload.score_share == 1 else f", {workload.score_share:.0%} of them scored"
        parts.append(f"{rows} x {length} tokens of {workload.text.source}{share}")
    return parts + [f"{len(t.gold_row)} items of {t.source}" for t in workload.tasks]


def measured_game(work: Workspace) -> Game:
    """The real model as a game: what is not in the ledger is measured; failures are the worst."""

    def utilities(coalitions: np.ndarray) -> np.ndarray:
        work.measure(CALIBRATION, coalitions)
        found = work.campaign(CALIBRATION).read(coalitions).utilities
        return np.where(np.isfinite(found), found, -1e9)

    return FunctionGame(utilities, work.players)
