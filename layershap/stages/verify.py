"""Stage 5: every chosen set and every baseline on text that the search never saw, and its speed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student

from cluster import Records
from layershap.errors import RunFailed
from layershap.stages.plan import make_plan
from layershap.workspace import HELDOUT, Workspace
from llm.speed import Speed, measure_speed
from sampling import without

__all__ = ["export_command", "paired_interval", "verify"]

Set = tuple[int, ...]


def verify(work: Workspace) -> dict[str, Any]:
    """Measure on the held-out text, time, and write `recommendations.json`.

    Raises:
        RunFailed: the dense model's own loss on the held-out text is not finite.
    """
    plan = make_plan(work.config, len(work.players))
    candidates = work.directory.read_json(work.directory.candidates, "search")
    chosen = {int(k): tuple(sets[0]["removed"]) for k, sets in candidates["sets"].items()}
    rivals = {
        name: {int(k): tuple(removed) for k, removed in sets.items()}
        for name, sets in candidates["baselines"].items()
    }
    wanted: list[Set] = list(
        dict.fromkeys(
            [(), *chosen.values(), *(s for sets in rivals.values() for s in sets.values())]
        )
    )
    rows = np.array([without(plan.n, removed) for removed in wanted])
    work.measure(HELDOUT, rows, "verifying")
    work.close_workers()
    records = work.campaign(HELDOUT).read(rows)
    if not records.ok[0]:
        raise RunFailed(
            f"model {work.config.title}: the loss of the whole model is not finite on the held-out "
            "text; try --dtype float32"
        )
    tokens = np.array(work.campaign(HELDOUT).column("nll").weights, dtype=np.float64)
    facts = {s: _quality(records, row, tokens) for row, s in enumerate(wanted)}
    for removed, speed in _speeds(work, wanted[1:]).items():
        facts[removed] |= speed
    dense = facts[()]
    recommendations = []
    for count, removed in chosen.items():
        sets = candidates["sets"][str(count)]
        recommendations.append(
            {
                "count": count,
                "removed": list(removed),
                "names": work.named(removed),
                "source": sets[0]["source"],
                "calibration_cost": sets[0]["cost"],
                "predicted_utility": sets[0]["predicted"],
                **facts[removed],
                "parameters_saved": _parameters(work, removed),
                "export": export_command(work, removed),
                "baselines": [
                    {"method": name, "removed": list(by[count]), **facts[by[count]]}
                    for name, by in rivals.items()
                ],
            }
        )
    content = {
        "fingerprint": work.campaign(HELDOUT).fingerprint,
        "text": work.texts.heldout.source,
        "tokens": int(work.texts.heldout.predicted.sum()),
        "noun": work.config.noun,
        "players": list(work.players),
        "dense": {**dense, "parameters": work.model.num_parameters()},
        "recommendations": recommendations,
    }
    work.directory.write_json(work.directory.recommendations, content)
    return content


def paired_interval(
    difference_S: Float[np.ndarray, "S"], weights_S: Float[np.ndarray, "S"]
) -> tuple[float, float, float]:
    """Weighted mean of per-sequence differences with its 95 % Student interval.

    The same sequences are scored by both models, so what makes a sequence hard for both cancels.
    With a single sequence there is no interval (NaN).
    """
    share = weights_S / weights_S.sum()
    mean = float(share @ difference_S)
    size = len(difference_S)
    if size < 2:
        return mean, float("nan"), float("nan")
    error = np.sqrt(size / (size - 1) * float((share**2) @ (difference_S - mean) ** 2))
    half = float(student.ppf(0.975, size - 1)) * float(error)
    return mean, mean - half, mean + half


def export_command(work: Workspace, removed: Set) -> str:
    """The command that writes the checkpoint without these layers."""
    run, names = work.directory.path, work.named(removed)
    return f"layershap export {run} --remove {names} --to {run}-without-{names.replace(',', '-')}"


def _quality(records: Records, row: int, weights: Float[np.ndarray, "S"]) -> dict[str, Any]:
    nll_S = records.metrics["nll"].astype(np.float64)
    mean, lower, upper = paired_interval(nll_S[row] - nll_S[0], weights)
    means = {name: float(records.mean(name)[row]) for name in records.metrics}
    nll = means.pop("nll")
    return {
        "nll": nll,
        "perplexity": float(np.exp(min(nll, 700.0))),
        "difference": mean,
        "difference_lower": lower,
        "difference_upper": upper,
        "kl": means.pop("kl"),
        "top1": means.pop("top1"),
        "tasks": means,
    }


def _speeds(work: Workspace, sets: list[Set]) -> dict[Set, dict[str, Any]]:
    if work.config.speed_rounds == 0:
        return {}
    # What can be exported is what is timed: whole layers go, a half that goes alone is zeroed.
    layers = {removed: work.roster.removed_layers(removed) for removed in ((), *sets)}
    distinct = [found for found in dict.fromkeys(layers.values()) if found]
    with work.console.status("timing the sets beside the dense model"):
        timed = measure_speed(
            work.model, distinct, work.texts.heldout.tokens, rounds=work.config.speed_rounds
        )
    speeds = {speed.removed: _plain(speed) for speed in timed}
    return {removed: {"speed": speeds[found]} for removed, found in layers.items()}


def _plain(speed: Speed) -> dict[str, Any]:
    return {k: v for k, v in asdict(speed).items() if k != "removed"}


def _parameters(work: Workspace, removed: Set) -> int:
    from llm import find_stack

    layers = find_stack(work.model).layers
    gone = work.roster.removed_layers(removed)
    return sum(p.numel() for i in gone for p in layers[i].parameters())
