"""The scheduler: 256 workers kept busy, a million coalitions in steady memory, two workers for one.

Run with `python -m benchmarks.scheduler --json FILE`. Workers count from when they are ready: how
long a model takes to load is not the scheduler's doing.

The first part has a real pool, driver and ledger, and 256 members that share a few actor processes:
each member is a thread there, which sleeps instead of computing.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from jaxtyping import Bool

import sampling
from benchmarks.support.measuring.plain_loops import random_llama
from benchmarks.support.measuring.simulated_workers import TOKENS, Hall, SeatedCrew, Sleeper
from benchmarks.support.measuring.steady_memory import keep_freed_memory
from benchmarks.support.report_bars import Bar, write
from cluster import (
    Campaign,
    Column,
    Evaluator,
    Ledger,
    Policy,
    Progress,
    WorkerPool,
    connect,
    measure,
)

__all__ = ["busy_workers", "main", "steady_driver", "two_for_one"]

PLAYERS = tuple(f"L{layer}" for layer in range(32))


def columns() -> tuple[Column, ...]:
    """Returns the columns that a text gives."""
    return Column("nll", TOKENS, -1), Column("kl", TOKENS, -1), Column("top1", TOKENS)


def open_campaign(stack: ExitStack, folder: Path) -> Campaign:
    """Returns a campaign of 32 players in a new ledger."""
    ledger = stack.enter_context(Ledger(folder / "ledger.sqlite"))
    return ledger.open_campaign("calibration", "benchmark", PLAYERS, columns(), {})


def distinct_coalitions(size: int) -> Bool[np.ndarray, "B n"]:
    """Returns random distinct coalitions of 32 players."""
    chance = sampling.stream(0, "benchmarks.scheduler")
    rows = chance.random((size + size // 50 + 16, len(PLAYERS))) < 0.7
    return sampling.distinct(rows)[:size]


def busy_workers(
    workers: int = 256, seconds: float = 24.0, seconds_each: float = 0.05, halls: int = 8
) -> dict[str, float]:
    """Part (a): how busy many slow workers are kept.

    Args:
        workers: members of the pool.
        seconds: length of the run, if they were always busy.
        seconds_each: time of one coalition.
        halls: processes that they share.

    Returns:
        the busy share, coalitions a second, their ideal, and the driver's share of one core.
    """
    import ray
    from ray import cloudpickle

    size = int(workers * seconds / seconds_each)
    factory = Sleeper(seconds_each)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(connect(None, workers=os.cpu_count() or 1))
        campaign = open_campaign(stack, folder)
        packed = cloudpickle.dumps(factory)  # pyright: ignore[reportPrivateImportUsage]
        hall = ray.remote(Hall).options(
            num_cpus=0, max_concurrency=2 * -(-workers // halls) + 2, max_restarts=0
        )
        handles = [hall.remote(packed) for _ in range(halls)]
        pool = stack.enter_context(SeatedCrew(handles, factory, workers))
        ready: list[tuple[float, float]] = []

        def watch(progress: Progress) -> None:
            if progress.workers == workers and not ready:
                ready.append((time.perf_counter(), sum(psutil.Process().cpu_times()[:2])))

        summary = measure(campaign, pool, distinct_coalitions(size), progress=watch)
        since, cpu_before = ready[0]
        lasted = time.perf_counter() - since
        cpu = sum(psutil.Process().cpu_times()[:2]) - cpu_before
    return {
        "busy": summary.busy,
        "rate": summary.rate,
        "ideal_rate": workers / seconds_each,
        "driver_cores": cpu / lasted,
        "seconds": lasted,
        "measured": summary.measured,
    }


def steady_driver(size: int = 1_000_000, mark: int = 200_000) -> dict[str, float]:
    """Part (b): the driver's memory over a long campaign.

    Args:
        size: coalitions of the campaign.
        mark: after how many the first look at the memory is taken.

    Returns:
        resident memory in MiB after ``mark`` and at the end, their ratio, coalitions a second.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(connect(None, workers=1))
        campaign = open_campaign(stack, folder)
        rows = distinct_coalitions(size)
        seen: list[float] = []
        latest = 0.0

        def watch(progress: Progress) -> None:
            nonlocal latest
            latest = psutil.Process().memory_info().rss / 2**20
            if progress.done >= mark and not seen:
                seen.append(latest)

        began = time.perf_counter()
        summary = measure(campaign, Sleeper(0.0), rows, workers=1, progress=watch)
        lasted = time.perf_counter() - began
        file_bytes = campaign.ledger.path.stat().st_size
    return {
        "mib_at_mark": seen[0],
        "mib_at_end": latest,
        "growth": latest / seen[0] - 1,
        "rate": summary.rate,
        "seconds": lasted,
        "measured": summary.measured,
        "bytes_a_coalition": file_bytes / size,
    }


def two_for_one(repeats: int = 3, coalitions: int = 192, layers: int = 12) -> dict[str, Any]:
    """Part (c): two workers on two cores against one worker on one, on the same real model.

    Args:
        repeats: of each, in turns.
        coalitions: stratified, of `layers` players.
        layers: of the random model, 256 wide.

    Returns:
        the rates since ready of each repeat and the ratio of their medians.
    """
    with tempfile.TemporaryDirectory() as folder:
        factory, players, measured = _real_job(Path(folder), layers)
        rows = sampling.stratified(
            layers, sampling.even_quotas(layers, range(1, layers), coalitions), 0
        )
        rates: dict[int, list[float]] = {1: [], 2: []}
        for repeat in range(repeats):
            for workers in (1, 2) if repeat % 2 == 0 else (2, 1):
                path = Path(folder) / f"{repeat}-{workers}.sqlite"
                rates[workers].append(_rate(path, factory, players, measured, rows, workers))
    medians = {workers: float(np.median(found)) for workers, found in rates.items()}
    return {"ratio": medians[2] / medians[1], "rates_1": rates[1], "rates_2": rates[2]}


def _real_job(
    folder: Path, layers: int
) -> tuple[Callable[[], Evaluator], tuple[str, ...], tuple[Column, ...]]:
    """Returns the factory of a random model's evaluator, its players and what it measures."""
    from decoder import ModelSpec, TokenText, Workload, build_evaluator

    model = random_llama(
        width=256, mlp_width=704, layers=layers, heads=4, vocabulary=4096, context=512
    )
    model.save_pretrained(folder / "model")
    tokens = sampling.stream(0, "tokens").integers(0, 4096, (4, 256))
    workload = Workload(TokenText(tokens, "random"))
    factory = partial(build_evaluator, ModelSpec(str(folder / "model")), workload)
    found = tuple(Column(metric.name, metric.weights, metric.sign) for metric in workload.metrics)
    return factory, tuple(f"L{layer}" for layer in range(layers)), found


def _rate(
    path: Path,
    factory: Callable[[], Evaluator],
    players: tuple[str, ...],
    measured: tuple[Column, ...],
    rows: Bool[np.ndarray, "B n"],
    workers: int,
) -> float:
    """Returns coalitions a second of a warm pool; one worker has the first core for itself."""
    with ExitStack() as stack:
        stack.enter_context(connect(None, workers=workers))
        ledger = stack.enter_context(Ledger(path))
        campaign = ledger.open_campaign("calibration", "benchmark", players, measured, {})
        pool = stack.enter_context(WorkerPool(factory, workers=workers))
        # The first call of each worker is not measured: it compiles, allocates and loads pages.
        while len(pool.ready) < workers:
            pool.wait(1.0)
        if workers == 1:
            _pin(pool.ready[0].name)
        warm = 8 * workers
        measure(campaign, pool, rows[:warm], policy=Policy(chunk_seconds=0.2))
        began = time.perf_counter()
        summary = measure(campaign, pool, rows[warm:])
        return summary.measured / (time.perf_counter() - began)


def _pin(worker: str) -> None:
    """Ties all threads of a worker of this machine to the last core."""
    process = psutil.Process(int(worker.rpartition(":")[2]))
    core = max(os.sched_getaffinity(0))
    for thread in process.threads():
        os.sched_setaffinity(thread.id, {core})


def main() -> None:
    """Runs the parts asked for and prints their bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="where to write the bars")
    parser.add_argument("--parts", default="abc", help="which of a, b and c (default abc)")
    parser.add_argument("--scale", type=float, default=1.0, help="size against the full benchmark")
    options = parser.parse_args()
    bars: list[Bar] = []
    raw: dict[str, Any] = {}
    if "a" in options.parts:
        a = raw["busy_workers"] = busy_workers(seconds=24 * options.scale)
        bars += [
            Bar("share of time that 256 workers measure", a["busy"], ">= 0.90", a["busy"] >= 0.9),
            Bar("coalitions a second, 256 workers", a["rate"], ">= 4,608", a["rate"] >= 4608),
            Bar(
                "cores that the driver needs", a["driver_cores"], "<= 0.8", a["driver_cores"] <= 0.8
            ),
        ]
    if "b" in options.parts:
        size = int(1_000_000 * options.scale)
        b = raw["steady_driver"] = steady_driver(size, size // 5)
        bars += [
            Bar("growth of the driver's memory", b["growth"], "<= 0.10", b["growth"] <= 0.1),
            Bar(f"seconds for {size:,} coalitions", b["seconds"], "<= 240", b["seconds"] <= 240),
        ]
    if "c" in options.parts:
        c = raw["two_for_one"] = two_for_one(coalitions=max(int(192 * options.scale), 48))
        bars.append(
            Bar("2 workers on 2 cores against 1 on 1", c["ratio"], ">= 1.7", c["ratio"] >= 1.7)
        )
    write(options.json, bars, **raw)
    for name, found in raw.items():
        print(name, {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()})


if __name__ == "__main__":
    keep_freed_memory("benchmarks.scheduler")
    main()
