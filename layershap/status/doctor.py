"""Checks before money is spent: installation, machine, model, text, budget, run directory."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.recorded import CALIBRATION, HELDOUT
from layershap.runs.wishes import refuse_impossible
from layershap.runs.workspace import Workspace
from layershap.terminal.console import Console, clock

if TYPE_CHECKING:
    from decoder import Workload

__all__ = ["Finding", "diagnose", "package_homes"]

ROOMS = ("layershap", "decoder", "cluster", "surrogate", "shapley", "sampling")


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what was seen.

    Attributes:
        what: was looked at.
        good: whether a run could go on.
        detail: what was seen, or what is wrong.
        alarm: whether a run would go on and its results be misread.
    """

    what: str
    good: bool
    detail: str
    alarm: bool = False


def package_homes() -> set[Path]:
    """Directories that the six packages are loaded from; more than one is a broken installation."""
    return {Path(str(importlib.import_module(r).__file__)).parent.parent for r in ROOMS}


def diagnose(config: RunConfig, directory: RunDirectory) -> list[Finding]:
    """All findings; a check that cannot be made because an earlier one failed is left out."""
    findings: list[Finding] = []

    def check(what: str, look: Callable[[], str]) -> bool:
        try:
            findings.append(Finding(what, True, look()))
        except Exception as error:  # transformers raises kinds of its own
            reason = " ".join(str(error).split()) or type(error).__name__
            findings.append(Finding(what, False, reason))
        return findings[-1].good

    check("installation", _installation)
    check("machine", _machine)
    check("run directory", lambda: _directory(directory))
    if not check("request", lambda: _request(config, directory)):
        return findings
    with ExitStack() as stack:
        work = Workspace(config, directory, Console(quiet=True), stack)
        if not check("model", lambda: _model(work)):
            return findings
        check("export", lambda: _export(work))
        if check("text", lambda: _text(work)):
            findings.extend(Finding("text", True, alarm, True) for alarm in work.texts.alarms)
            if check("plan", lambda: _plan(work)):
                check("one evaluation", lambda: _evaluation(work))
        if config.cluster.address:
            check("cluster", lambda: _cluster(config.cluster.address or ""))
    return findings


def _installation() -> str:
    homes = package_homes()
    if len(homes) > 1:
        places = ", ".join(sorted(map(str, homes)))
        raise ValueError(
            f"packages are loaded from {places}; use a virtual environment of its own for layershap"
        )
    names = ("torch", "transformers", "ray", "jax", "flax")
    return f"layershap {version('layershap')}, Python {sys.version.split()[0]}, " + ", ".join(
        f"{name} {version(name)}" for name in names
    )


def _machine() -> str:
    import torch

    memory = psutil.virtual_memory()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return (
        f"{os.cpu_count()} cores, {memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB "
        f"free, {', '.join(gpus) or 'no GPU'}"
    )


def _directory(directory: RunDirectory) -> str:
    parent = directory.path
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ValueError(f"{parent} is not writable; name another directory with --output")
    free = shutil.disk_usage(parent).free / 2**30
    there = "continues what is there" if directory.config.exists() else "will be made"
    return f"{directory.path} {there}, {free:.1f} GiB free"


def _request(config: RunConfig, directory: RunDirectory) -> str:
    refuse_impossible(config, directory)
    return "nothing in it is impossible for this model as far as its files tell"


def _model(work: Workspace) -> str:
    size = work.footprint
    return (
        f"{work.config.title}: {size.layers} layers, {size.parameters:,} parameters, "
        f"{size.total_bytes / 2**30:.2f} GiB in {work.dtype} on {work.device.type}, "
        f"{len(work.players)} {work.config.noun}s"
    )


def _export(work: Workspace) -> str:
    from layershap.runs.exportable import check_exportable

    check_exportable(work)
    return "smaller models have the same stock architecture"


def _text(work: Workspace) -> str:
    texts = work.texts
    parts = [
        f"{name} {t.tokens.shape[0]} x {t.tokens.shape[1]} tokens of {t.source}"
        for name, t in ((CALIBRATION, texts.calibration), (HELDOUT, texts.heldout))
    ]
    return "; ".join([*parts, *texts.warnings])


def _plan(work: Workspace) -> str:
    from layershap.runs.plan import make_plan

    plan = make_plan(work.config, len(work.players))
    exact = " (all of them: the values will be exact)" if plan.exact else ""
    return (
        f"{plan.budget} evaluations{exact}, removing {', '.join(map(str, plan.counts))} of "
        f"{plan.n} {work.config.noun}s"
    )


def _evaluation(work: Workspace) -> str:
    import numpy as np

    from decoder import build_evaluator, count_layer_evaluations
    from layershap.runs.plan import make_plan

    plan = make_plan(work.config, len(work.players))
    workload, share = _sample(work.workload(CALIBRATION))
    evaluator = build_evaluator(work.spec, workload, work.options)
    whole = np.ones((1, plan.n), dtype=bool)
    evaluator.measure(whole)
    started = time.perf_counter()
    found = evaluator.measure(whole)
    seconds = (time.perf_counter() - started) / share
    if not all(np.isfinite(values).all() for values in found.values()):
        raise ValueError("the loss of the whole model is not finite; try --dtype float32")
    # A whole evaluation is all steps and a head; sharing prefixes leaves fewer steps to do.
    steps = count_layer_evaluations(work.roster.slots_kept(plan.design)) + 2 * len(plan.design)
    total = seconds / (len(work.roster.slots) + 2) * steps / (work.workers or 1)
    means = ", ".join(f"{name} {values.mean():.4f}" for name, values in found.items())
    walk = "breadth first" if evaluator.plan.breadth else "depth first"
    part = "" if share == 1 else f" on {share:.3g} of the text"
    return (
        f"{means}{part}, {seconds:.2f} s on all of it, walking {walk}; measuring the design takes "
        f"about {clock(total)} with {work.workers or 1} workers"
    )


def _sample(workload: Workload) -> tuple[Workload, float]:
    """The first sequence, which takes its share of the time; all where tasks are measured too."""
    text = workload.text
    if text is None or workload.tasks:
        return workload, 1.0
    return replace(workload, text=text.first(1)), 1 / len(text.tokens)


def _cluster(address: str) -> str:
    from cluster import connect

    with connect(address, workers=1) as session:
        return f"{session.address}: {session.cpus:g} CPUs, {session.gpus:g} GPUs"
