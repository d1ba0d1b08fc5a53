"""Stage 6: what the other stages found, put into one page."""

from __future__ import annotations

import math
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from layershap.errors import UserError
from layershap.report import (
    BaselineSet,
    Cost,
    Dense,
    ErrorPoint,
    FitScore,
    PairedDifference,
    PlayerValues,
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
from layershap.results.estimate import Estimate
from layershap.results.frontier import points
from layershap.runs.config_file import to_toml
from layershap.runs.directory import write_whole
from layershap.runs.workspace import CALIBRATION, HELDOUT, Workspace
from layershap.stages.confidence import confidence
from layershap.stages.fit import read_evaluation
from shapley import Values
from shapley.values import NORMAL_975

__all__ = ["FORMATS", "gather", "report"]

_PACKAGES = ("layershap", "torch", "transformers", "ray", "jax", "flax", "numpy")


_RENDERERS = {"html": render, "md": render_markdown, "json": render_json}
FORMATS = tuple(_RENDERERS)


def report(work: Workspace, *, command: str, seconds: float, form: str = "html") -> Path:
    """Write the report beside the run directory's files and return its path.

    Args:
        work: the run.
        command: what made it.
        seconds: how long that took.
        form: ``html`` (`report.html`), ``md`` or ``json``.
    """
    path = work.directory.report.with_suffix(f".{form}")
    write_whole(path, _RENDERERS[form](gather(work, command=command, seconds=seconds)))
    return path


def gather(work: Workspace, *, command: str, seconds: float) -> Report:
    """Returns what the run directory's files say, whatever form it is to take.

    Raises:
        UserError: one of them is missing, damaged or of an earlier version.
    """
    directory = work.directory
    values = directory.read_json(directory.values, "values")
    found = directory.read_json(directory.recommendations, "verify")
    searched = directory.read_json(directory.candidates, "search")
    if any("against_best" not in item for item in found["recommendations"]):
        raise UserError(
            f"{directory.recommendations}: written by an earlier version; run layershap verify "
            f"{directory.path} again"
        )
    counts = work.campaign(CALIBRATION).counts()
    texts = work.texts
    return Report(
        model=work.config.title,
        players=work.players,
        player_noun=work.config.noun,
        unit=work.utility.unit,
        calibration=TextFacts(texts.calibration.source, int(texts.calibration.predicted.sum())),
        held_out=TextFacts(found["text"], found["tokens"]),
        dense=_dense(found["dense"]),
        recommendations=tuple(_recommendation(item) for item in found["recommendations"]),
        values=_panels(values),
        provenance=Provenance(
            command=command,
            seed=work.config.measure.seed,
            fingerprint=values["fingerprint"],
            config=to_toml(work.config),
            date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            seconds=seconds,
            device=_device(work),
            versions=(
                ("Python", platform.python_version()),
                *((name, version(name)) for name in _PACKAGES),
            ),
            explore=shlex.join(["layershap", "serve", str(work.directory.path)]),
        ),
        spent=searched["spent"],
        budget=searched["budget"],
        surrogate=_fit(work),
        interactions=tuple(tuple(row) for row in values["interactions"]),
        excluded=counts.non_finite + counts.failed,
        warnings=tuple(_warnings(work, values, searched)),
        rankings=tuple(
            Ranking(entry["k"], tuple(confidence(values["ranking"], entry["k"])))
            for entry in values["ranking"]
        ),
        errors=tuple(ErrorPoint(**point) for point in values["error_history"]),
        halving=values["budget_to_halve_errors"],
        frontier=tuple(points(found)),
        cost=_cost(work),
    )


def _cost(work: Workspace) -> Cost:
    """What both texts' measurements took, in all sessions."""
    evaluations = tokens = 0
    plain = True
    for name in {CALIBRATION, HELDOUT} & set(work.ledger.campaign_names()):
        total, workload = work.ledger.campaign(name).counts().total, work.workload(name)
        evaluations += total
        tokens += total * (workload.text.tokens.size if workload.text is not None else 0)
        plain &= not workload.tasks
    seconds = work.ledger.fetch("SELECT sum(seconds) FROM measurements")[0][0] or 0.0
    return Cost(evaluations, seconds, tokens if plain else None)


def _dense(dense: Mapping[str, Any]) -> Dense:
    speed = dense.get("speed")
    return Dense(
        nll=dense["nll"],
        parameters=dense["parameters"],
        prefill=Estimate(speed["prefill"]) if speed else None,
        decoding=Estimate(speed["decode"]) if speed else None,
    )


def _recommendation(item: Mapping[str, Any]) -> Recommendation:
    return Recommendation(
        removed=tuple(item["removed"]),
        difference=_difference(item),
        parameters_saved=item["parameters_saved"],
        command=item["export"],
        kl=item["kl"],
        top1=item["top1"],
        prefill=_speed(item, "prefill"),
        decoding=_speed(item, "decode"),
        rivals=tuple(
            BaselineSet(
                method=rival["method"],
                removed=tuple(rival["removed"]),
                difference=_difference(rival),
                decoding=_speed(rival, "decode"),
            )
            for rival in item["baselines"]
        ),
        against=_against(item["against_best"]),
        texts=tuple(
            TextCost(text["name"], text["tokens"], _paired(text)) for text in item["texts"]
        ),
        tasks=tuple(
            TaskScore(metric, _number(task["value"]), _paired(task))
            for metric, task in item["tasks"].items()
        ),
        warnings=tuple(item["warnings"]),
    )


def _against(found: Mapping[str, Any] | None) -> PairedDifference | None:
    if found is None:
        return None
    return PairedDifference(found["method"], tuple(found["removed"]), _paired(found))


def _difference(item: Mapping[str, Any]) -> Estimate:
    names = ("difference", "difference_lower", "difference_upper")
    return Estimate(*(_number(item[name]) for name in names))


def _paired(item: Mapping[str, Any]) -> Estimate:
    return Estimate(*(_number(item[name]) for name in ("difference", "lower", "upper")))


def _speed(item: Mapping[str, Any], name: str) -> Estimate | None:
    if "speed" not in item:
        return None
    speed = item["speed"]
    # Too few rounds have no interval of the median; their quartiles are shown instead.
    low, middle, high = speed[f"{name}_ratio"]
    return Estimate(middle, *(speed[f"{name}_interval"] or (low, high)))


def _panels(values: Mapping[str, Any]) -> tuple[PlayerValues, ...]:
    shapley, restricted = values["shapley"], values["restricted"]
    return (
        PlayerValues(
            "Shapley value",
            shapley["status_text"],
            _estimates(shapley),
            _with_text(shapley, values["shapley_text_standard_errors"]),
        ),
        PlayerValues(
            f"Value with at most {values['restricted_to']} removed",
            "The mean contribution to nearly whole models, the ones that pruning leaves.",
            _estimates(restricted),
        ),
    )


def _estimates(values: Mapping[str, Any]) -> tuple[Estimate, ...]:
    columns = (values["values"], values["lower"], values["upper"])
    return tuple(Estimate(*map(_number, row)) for row in zip(*columns, strict=True))


def _with_text(
    shapley: Mapping[str, Any], text_errors: Sequence[float] | None
) -> tuple[Estimate, ...]:
    """The values with intervals that hold the sampling's and the text's uncertainty."""
    if text_errors is None:
        return ()
    found = Values.from_dict(shapley)
    own = np.where(np.isfinite(found.standard_errors), found.standard_errors, 0.0)
    text = NORMAL_975 * np.array(text_errors)
    half = np.sqrt((found.quantile * own) ** 2 + text**2)
    ends = zip(found.values, found.values - half, found.values + half, strict=True)
    return tuple(Estimate(*map(float, row)) for row in ends)


def _fit(work: Workspace) -> SurrogateFit:
    evaluation, rows = read_evaluation(work.directory)
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
        removed=tuple((~rows["coalitions"]).sum(axis=1).tolist()),
        measured=tuple(rows["measured"].tolist()),
        predicted=tuple(rows["out_of_fold"].tolist()),
        scores=tuple(scores),
        coverage=evaluation.coverage,
        level=evaluation.level,
    )


def _warnings(work: Workspace, values: Mapping[str, Any], searched: Mapping[str, Any]) -> list[str]:
    found = list(work.texts.warnings)
    if searched["spent_on_baselines"]:
        found.append(
            f"{searched['spent_on_baselines']} more sets were measured for the baselines' "
            "sets (or by earlier runs in this directory) and are not part of the budget."
        )
    if searched["exact"]:
        found.append(
            "Every set was measured: values and chosen sets are exact on the calibration "
            "text, and the surrogate serves queries only."
        )
    if values["shapley"]["status"] in ("ROUGH", "SURROGATE"):
        found.append(values["shapley"]["status_text"])
    errors = values["shapley_text_standard_errors"]
    if errors is not None:
        spread = float(np.median(errors))
        found.append(
            f"Other calibration text of this kind would move a value by about {spread:.3f} "
            "(median standard error over sequences); intervals for text of this kind hold it."
        )
    return found


def _device(work: Workspace) -> str:
    device = work.device
    workers = "workers of the cluster" if work.workers is None else f"{work.workers} workers"
    if device.type == "cuda":
        import torch

        name = torch.cuda.get_device_name(device) if torch.cuda.is_available() else "GPU"
        return f"{name}, {workers}"
    memory = psutil.virtual_memory().total / 2**30
    return f"{psutil.cpu_count()} CPU cores ({platform.machine()}), {memory:.0f} GiB, {workers}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
