"""The published methods' sets, measured on the same text as everything else.

`baselines.json`: `fingerprint` of the calibration campaign, `utility` and its `dense` value, and
`methods`, by name: `source`, `evaluations` and `tokens` that the method itself needs, `budget` for
those that can spend any, `seconds`, `note`, and by count `sets` (removed players), `utilities` on
the calibration text (null where not finite) and `merges` ([[layer that stays, [layers merged into
it]], ...]; null where removed layers are dropped).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from cluster import Column
from decoder import TEXT_METRICS
from layershap.errors import RunFailed, UserError
from layershap.methods.catalog import BASELINES, DEFAULTS, find_baselines
from layershap.methods.context import BaselineResult, RunContext, refusal, run_method
from layershap.results.baseline_sets import BASELINE_SETS, BaselineSets, Merges, MethodSets
from layershap.results.result_file import NotThereYet
from layershap.runs.recorded import CALIBRATION
from layershap.runs.workspace import Workspace
from layershap.stages.measure import counted_game
from layershap.terminal.console import clock
from sampling import without
from shapley import FunctionGame, Game
from shapley.baselines import Method, PartialGame

__all__ = ["baseline_sets", "run_baselines"]

Sets = dict[int, tuple[int, ...]]

WORST = -1e9  # the utility of what has none


def baseline_sets(work: Workspace, counts: Sequence[int]) -> dict[str, Sets]:
    """The sets of the methods that every search is compared with, all of them measured."""
    context = _context(work, None)
    found: dict[str, Sets] = {}
    for method in DEFAULTS:
        if (reason := refusal(method, context, counts)) is not None:
            work.console.say(reason)
            continue
        found[method.name] = dict(_found(work, context, method, counts, whole_bar=True).sets)
    rows = [without(context.players, gone) for sets in found.values() for gone in sets.values()]
    work.measure(CALIBRATION, np.array(rows), "baselines")
    return found


def run_baselines(
    work: Workspace,
    names: Sequence[str] | None,
    counts: Sequence[int],
    budget: int | None = None,
) -> BaselineSets:
    """Find and measure the sets of published methods; `baselines.json` keeps what is there.

    Args:
        work: the run.
        names: of the methods; all that can run here when omitted.
        counts: numbers of players to remove.
        budget: evaluations for each method that can spend any number; the run's own budget when
            omitted.

    Returns:
        what `baselines.json` holds.

    Raises:
        UserError: a method is unknown or cannot run here, or the file belongs to another run;
            nothing has been measured then.
    """
    bench = _context(work, budget)
    chosen = BASELINES if names is None else find_baselines(names)
    known = _read(work)
    able = []
    for baseline in chosen:
        reason = refusal(baseline, bench, counts)
        if reason is None:
            able.append(baseline)
        elif names is None:
            work.console.say(reason)
        else:
            raise UserError(reason)
    whole = np.ones((1, bench.players), dtype=bool)
    work.measure(CALIBRATION, whole)
    records = work.campaign(CALIBRATION).read(whole)
    if not records.ok[0]:
        raise RunFailed(
            f"model {work.config.title}: the utility of the whole model is not finite on this "
            "text; try --dtype float32"
        )
    known = replace(known, utility=records.utility, dense=float(records.utilities[0]))
    for baseline in able:
        if _lacks(known, baseline, counts, budget):
            known = _run(work, bench, baseline, counts, known)
        else:
            work.console.say(f"{baseline.name}: in {work.directory.baselines.name} already")
    return known


def _lacks(
    there: BaselineSets, baseline: Method[Any], counts: Sequence[int], budget: int | None
) -> bool:
    """Whether the file has not all of these sets, from the budget that was asked for."""
    known = there.methods.get(baseline.name)
    if known is None or (baseline.spends and budget not in (None, known.budget)):
        return True
    return not set(counts) <= set(known.sets)


def _run(
    work: Workspace,
    bench: RunContext,
    baseline: Method[RunContext],
    counts: Sequence[int],
    there: BaselineSets,
) -> BaselineSets:
    """One method, with the counts that the file has already, so that none is lost."""
    known = there.methods.get(baseline.name)
    wanted = sorted({*counts, *(known.sets if known else ())})
    started = time.monotonic()
    result = _found(work, bench, baseline, wanted)
    utilities = _utilities(work, result)
    seconds = time.monotonic() - started
    evaluations = math.ceil(result.evaluations - 1e-9)
    found = MethodSets(
        source=baseline.source,
        evaluations=evaluations,
        tokens=result.tokens,
        budget=bench.budget if baseline.spends else None,
        seconds=seconds,
        sets=dict(result.sets),
        utilities=utilities,
        merges=_merges(result),
        note=result.note,
    )
    there = replace(there, methods={**there.methods, baseline.name: found})
    BASELINE_SETS.write(work.directory.path, there)
    work.console.say(
        f"{baseline.name}: {evaluations:,} evaluations, {result.tokens:,} model tokens, "
        f"{clock(seconds)}"
    )
    return there


def _found(
    work: Workspace,
    context: RunContext,
    method: Method[RunContext],
    counts: Sequence[int],
    *,
    whole_bar: bool = False,
) -> BaselineResult:
    """What one method finds, with progress: a bar a batch of evaluations, or one for all of it."""
    if method.passes:
        context.model()
        with work.console.status(method.name):
            return run_method(method, context, counts)
    if whole_bar and method.price is not None:
        price = method.price(context.players, counts)
        with work.console.progress(f"{method.name} on the real model", work.incumbent) as update:
            counted = replace(
                context, game=lambda metric: counted_game(_game(work, metric), price, update)
            )
            return run_method(method, counted, counts)
    labelled = replace(
        context,
        game=lambda metric: _game(work, metric, method.name),
        parts=lambda metric: _Sequences(work, metric, method.name),
    )
    return run_method(method, labelled, counts)


def _merges(result: BaselineResult) -> dict[int, Merges] | None:
    if result.merges is None:
        return None
    return {
        count: tuple((merge.into, tuple(merge.layers)) for merge in merges)
        for count, merges in result.merges.items()
    }


def _utilities(work: Workspace, result: BaselineResult) -> dict[int, float | None]:
    """The run's utility of each set on the calibration text; merged models are measured as such."""
    campaign = work.campaign(CALIBRATION)
    if result.merges is None:
        rows = np.array([without(len(work.players), removed) for removed in result.sets.values()])
        work.measure(CALIBRATION, rows)
        found = campaign.read(rows).utilities
    else:
        from decoder.surgery.merged_metrics import merged_metrics

        workload = work.workload(CALIBRATION)
        steps = work.console.steps("measuring merged models", result.merges.values())
        metrics = [merged_metrics(work.model, workload, merges) for merges in steps]
        found = np.concatenate([campaign.utilities(one) for one in metrics])
    finite = [float(utility) if np.isfinite(utility) else None for utility in found]
    return dict(zip(result.sets, finite, strict=True))


def _context(work: Workspace, budget: int | None) -> RunContext:
    workload = work.workload(CALIBRATION)
    tokens: dict[str, int] = {}
    if workload.text is not None:
        tokens |= dict.fromkeys(TEXT_METRICS, workload.text.tokens.size)
    for task in workload.tasks:
        tokens |= dict.fromkeys(task.metrics, sum(map(len, task.rows)))
    return RunContext(
        roster=work.roster,
        utility=work.campaign(CALIBRATION).utility,
        evaluation_tokens=tokens,
        tokens=work.texts.calibration.tokens,
        budget=work.config.evaluations(len(work.players)) if budget is None else budget,
        seed=work.config.measure.seed,
        game=lambda metric: _game(work, metric, "measuring"),
        parts=lambda metric: _Sequences(work, metric, "measuring"),
        model=lambda: work.model,
    )


def _game(work: Workspace, metric: str, label: str | None = None) -> Game:
    """The real model as a game of one measured quantity, through the ledger."""
    campaign = replace(work.campaign(CALIBRATION), utility=metric)

    def utilities(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        work.measure(CALIBRATION, coalitions, label)
        found = campaign.read(coalitions).utilities
        return np.where(np.isfinite(found), found, WORST)

    return FunctionGame(utilities, work.players)


class _Sequences(PartialGame):
    """The same on single sequences of the text: all are measured at once and kept for later."""

    def __init__(self, work: Workspace, metric: str, label: str) -> None:
        self.work, self.label = work, label
        self.column = work.campaign(CALIBRATION).column(metric)
        self.used = np.flatnonzero(self.column.weights)

    @property
    def players(self) -> tuple[str, ...]:
        return self.work.players

    @property
    def parts(self) -> int:
        return len(self.used)

    def __call__(
        self, coalitions: Bool[np.ndarray, "B n"], parts: Int[np.ndarray, "k"], /
    ) -> Float[np.ndarray, "B"]:
        self.work.measure(CALIBRATION, coalitions, self.label)
        records = self.work.campaign(CALIBRATION).read(coalitions)
        chosen = self.used[parts]
        weights = tuple(self.column.weights[place] for place in chosen)
        column = Column(self.column.name, weights, self.column.sign)
        found = column.sign * column.mean(records.metrics[column.name][:, chosen])
        return np.where(np.isfinite(found), found, WORST)


def _read(work: Workspace) -> BaselineSets:
    """What `baselines.json` holds, or an empty one.

    Raises:
        UserError: it is damaged or belongs to other measurements.
    """
    path, fingerprint = work.directory.baselines, work.campaign(CALIBRATION).fingerprint
    try:
        there = BASELINE_SETS.read(work.directory.path)
    except NotThereYet:
        return BaselineSets(fingerprint)
    except UserError as error:
        raise UserError(
            f"{str(error).rpartition(';')[0]}; remove it and run again: what was measured stays in "
            "the ledger"
        ) from None
    if there.fingerprint != fingerprint:
        raise UserError(
            f"{path}: belongs to measurements of something else (fingerprint {there.fingerprint}); "
            "remove it and run again"
        )
    return there
