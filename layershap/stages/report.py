"""Stage 6: what the other stages found, put into one page."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from layershap.files import write_whole
from layershap.report import (
    BaselineSet,
    Cost,
    Dense,
    FitScore,
    PairedDifference,
    Pending,
    Provenance,
    Ranking,
    Recommendation,
    Report,
    SurrogateFit,
    TaskScore,
    TextCost,
    TextFacts,
    render,
    render_json,
    render_markdown,
)
from layershap.results.candidates import CANDIDATES, Candidates
from layershap.results.estimate import Estimate
from layershap.results.frontier import points
from layershap.results.recommendations import (
    RECOMMENDATIONS,
    BestBaseline,
    DenseModel,
    Recommendations,
    VerifiedModel,
    VerifiedVariant,
)
from layershap.results.set_text import typed
from layershap.results.surrogate_fit import SURROGATE_FIT
from layershap.results.surrogate_fit import SurrogateFit as KeptFit
from layershap.results.values import VALUES, Values
from layershap.runs.config_file import to_toml
from layershap.runs.recorded import CALIBRATION, HELDOUT, MEASURED_ON, RecordedRun
from layershap.stages.confidence import confidence
from layershap.stages.told_values import facts, panels, reasons, text_warning
from shapley import Status

__all__ = ["FORMATS", "gather", "report"]

_PACKAGES = ("layershap", "torch", "transformers", "ray", "jax", "flax", "numpy")

_RENDERERS = {"html": render, "md": render_markdown, "json": render_json}
FORMATS = tuple(_RENDERERS)


def report(run: RecordedRun, *, command: str, seconds: float, form: str = "html") -> Path:
    """Write the report beside the run directory's files and return its path.

    Args:
        run: whose; what is not there yet is left out, and the report says so.
        command: what made it.
        seconds: how long that took.
        form: ``html`` (`report.html`), ``md`` or ``json``.
    """
    path = run.directory.report.with_suffix(f".{form}")
    write_whole(path, _RENDERERS[form](gather(run, command=command, seconds=seconds)))
    return path


def gather(run: RecordedRun, *, command: str, seconds: float) -> Report:
    """Gather what the run directory's files say, whatever form it is to take.

    Args:
        run: whose.
        command: what made it.
        seconds: how long that took.

    Raises:
        UserError: one of the files is damaged or of an earlier version.
    """
    path, plan = run.directory.path, run.plan
    values, searched = VALUES.found(path), CANDIDATES.found(path)
    verified = RECOMMENDATIONS.found(path)
    campaign = run.campaign(CALIBRATION)
    counts = campaign.counts()
    recommendations = () if verified is None else verified.recommendations
    return Report(
        model=run.config.title,
        players=run.players,
        player_noun=run.config.noun,
        unit=run.utility.unit,
        value_of="loss" if values is None else values.value_of,
        value_unit=run.utility.unit if values is None else values.unit,
        value_facts=() if values is None else facts(values, run.config.noun),
        calibration=_calibration(run),
        held_out=None if verified is None else TextFacts(verified.text, verified.tokens),
        dense=None if verified is None else _dense(verified.dense),
        recommendations=tuple(map(_recommendation, recommendations, reasons(run, recommendations))),
        values=() if values is None else panels(values),
        provenance=Provenance(
            command=command,
            seed=run.config.measure.seed,
            fingerprint=campaign.fingerprint,
            config=to_toml(run.config),
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            seconds=seconds,
            device=_device(run),
            versions=(
                ("Python", platform.python_version()),
                *((name, version(name)) for name in _PACKAGES),
            ),
            explore=typed("serve", path),
        ),
        spent=counts.total if searched is None else searched.spent,
        budget=plan.budget if searched is None else searched.budget,
        surrogate=_fit(SURROGATE_FIT.found(path), run.utility.unit),
        interactions=None if values is None else values.interactions,
        excluded=counts.non_finite + counts.failed,
        alarms=tuple(run.last_event(MEASURED_ON).get("alarms", ())),
        warnings=tuple(_warnings(run, values, searched)),
        rankings=()
        if values is None
        else tuple(Ranking(e.k, tuple(confidence(values.ranking, e.k))) for e in values.ranking),
        errors=() if values is None else values.error_history,
        halving=None if values is None else values.budget_to_halve_errors,
        frontier=() if verified is None else tuple(points(verified)),
        cost=_cost(run),
        pending=_pending(run, values, searched, verified),
    )


def _pending(
    run: RecordedRun,
    values: Values | None,
    searched: Candidates | None,
    verified: Recommendations | None,
) -> Pending | None:
    """What a report says of a run that is not verified."""
    if verified is not None:
        return None
    missing = "verify" if searched is not None else "search" if values is not None else "values"
    finding = "Nothing is verified on held-out text yet"
    if searched is not None and searched.chosen:
        best = [
            f"{run.named(found.removed)} ({found.cost:+.4f})" for found in searched.chosen.values()
        ]
        finding += (
            f"; on the calibration text the best measured sets cost, in {run.utility.unit}: "
            + ", ".join(best)
        )
    command = typed(missing, run.directory.path)
    return Pending(f"{finding}.", f"Go on with {command}; the report is then made again.")


def _calibration(run: RecordedRun) -> TextFacts:
    """The calibration text: its source, and how many of its tokens are predicted."""
    campaign = run.campaign(CALIBRATION)
    known = run.last_event(MEASURED_ON)
    if "calibration" in known:
        return TextFacts(known["calibration"]["source"], known["calibration"]["tokens"])
    # Measured by an earlier version: what is scored is what is predicted, unless only a share is.
    name = campaign.details.get("text")
    column = campaign.column("nll") if name else campaign.column(campaign.utility)
    return TextFacts(name or campaign.utility, int(sum(column.weights)))


def _cost(run: RecordedRun) -> Cost:
    """What both texts' measurements took, in all sessions."""
    evaluations = tokens = 0
    plain = True
    for name in {CALIBRATION, HELDOUT} & set(run.ledger.campaign_names()):
        campaign = run.ledger.campaign(name)
        total = campaign.counts().total
        evaluations += total
        tokens += total * _tokens(campaign.details)
        plain &= {column.name for column in campaign.columns} <= {"nll", "kl", "top1"}
    seconds = run.ledger.fetch("SELECT sum(seconds) FROM measurements")[0][0] or 0.0
    return Cost(evaluations, seconds, tokens if plain else None)


def _tokens(details: Mapping[str, Any]) -> int:
    """Tokens of a campaign's text: its description says "8 x 256 tokens"."""
    rows, _, rest = str(details.get("sequences", "0 x 0")).partition(" x ")
    return int(rows) * int(rest.partition(" ")[0])


def _dense(dense: DenseModel) -> Dense:
    speed = dense.speed
    return Dense(
        nll=Estimate.of(dense.nll, None, None).value,
        parameters=dense.parameters,
        prefill=Estimate(speed.prefill) if speed else None,
        decoding=Estimate(speed.decode) if speed else None,
    )


def _recommendation(item: VerifiedVariant, why: str) -> Recommendation:
    return Recommendation(
        removed=item.removed,
        difference=item.estimate,
        parameters_saved=item.parameters_saved or 0,
        command=item.export,
        kl=item.kl,
        top1=item.top1,
        prefill=_speed(item, "prefill"),
        decoding=_speed(item, "decode"),
        rivals=tuple(
            BaselineSet(
                method=rival.method,
                removed=rival.removed,
                difference=rival.estimate,
                decoding=_speed(rival, "decode"),
                alike=rival.repaired and rival.repaired.estimate,
                zeroed=rival.zeroed,
            )
            for rival in item.baselines
        ),
        against=_against(item.against_best),
        texts=tuple(TextCost(text.name, text.tokens, text.estimate) for text in item.texts),
        tasks=tuple(
            TaskScore(metric, Estimate.of(task.value, None, None).value, task.estimate)
            for metric, task in item.tasks.items()
        ),
        warnings=item.warnings,
        zeroed=item.zeroed,
        why=why,
        repaired=None if item.repair is None else item.repair.estimate,
        repair=None if item.repair is None else item.repair.method,
        alike=item.repaired and item.repaired.estimate,
    )


def _against(found: BestBaseline | None) -> PairedDifference | None:
    return found and PairedDifference(found.method, found.removed, found.estimate)


def _speed(item: VerifiedModel, name: str) -> Estimate | None:
    if item.speed is None:
        return None
    measured = item.speed.ratio(name)
    if measured.has_interval:
        return measured
    # Too few rounds have no interval of the median; their quartiles are shown instead.
    low, middle, high = item.speed.prefill_ratio if name == "prefill" else item.speed.decode_ratio
    return Estimate(middle, low, high)


def _fit(kept: KeptFit | None, unit: str) -> SurrogateFit | None:
    if kept is None:
        return None
    evaluation, rows = kept.evaluation, kept.rows
    scores = [
        FitScore(name, None, s.count, s.r2, s.spearman, s.mae)
        for name, s in evaluation.overall.items()
    ]
    scores += [
        FitScore(name, removed, s.count, s.r2, s.spearman, s.mae)
        for name, strata in evaluation.strata.items()
        for removed, s in sorted(strata.items())
    ]
    return SurrogateFit(
        removed=tuple(len(row) - sum(row) for row in rows.coalitions),
        measured=rows.measured,
        predicted=rows.out_of_fold,
        scores=tuple(scores),
        coverage=evaluation.coverage,
        level=evaluation.level,
        near=evaluation.near_sentence(unit),
        by_excess=evaluation.by_excess,
    )


def _warnings(run: RecordedRun, values: Values | None, searched: Candidates | None) -> list[str]:
    found = list(run.last_event(MEASURED_ON).get("warnings", ()))
    if searched is not None and searched.spent_on_baselines:
        found.append(
            f"{searched.spent_on_baselines} more sets were measured for the baselines' "
            "sets (or by earlier runs in this directory) and are not part of the budget."
        )
    if searched is not None and searched.exact:
        found.append(
            "Every set was measured: values and chosen sets are exact on the calibration "
            "text, and the surrogate serves queries only."
        )
    if values is None:
        return found
    if values.shapley.status in (Status.ROUGH, Status.SURROGATE):
        found.append(values.shapley.status.value)
    return [*found, *text_warning(values)]


def _device(run: RecordedRun) -> str:
    """What the measuring ran on, in words."""
    told = run.last_event(MEASURED_ON).get("machine")
    return told or str(run.campaign(CALIBRATION).details.get("device", "not known"))
