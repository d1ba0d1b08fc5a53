"""The default estimator on many tables, budgets and seeds: one process a core, nothing done twice.

Estimates are appended to `FOLDER/ours/VERSION/GAME.jsonl`, where VERSION is the digest of the
estimator's code, so that an interrupted run goes on and changed code starts anew.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.support.values.our_default import code_version, default_values

__all__ = ["Cell", "estimate_cells", "one_thread", "pool", "store"]

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclass(frozen=True)
class Cell:
    """One estimate to make: a game's name, a budget in coalitions and a seed."""

    game: str
    budget: int
    seed: int


def one_thread() -> dict[str, str]:
    """The environment of a process that may use one core."""
    return {**os.environ, **_ONE_THREAD}


def pool(workers: int) -> ProcessPoolExecutor:
    """Processes of one thread, each pinned to a core of its own while there are enough."""
    cores = sorted(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    queue: Queue[int] = context.Queue()
    for worker in range(workers):
        queue.put(cores[worker % len(cores)])
    # Spawned processes inherit these, and read them when they import their libraries.
    os.environ.update(_ONE_THREAD)
    return ProcessPoolExecutor(workers, context, initializer=_pin, initargs=(queue,))


def store(folder: Path) -> Path:
    """Where the estimates of the present code are kept."""
    return folder / "ours" / code_version()


def estimate_cells(
    tables: Mapping[str, Float[np.ndarray, "M"]],
    cells: Sequence[Cell],
    folder: Path,
    workers: int,
) -> dict[Cell, dict[str, Any]]:
    """Estimates that are stored, and those that are missing, which are made and stored.

    Returns:
        by cell: "values", "lower", "upper" (None for no interval), "evaluations", "diagnostics"
        and "seconds".
    """
    home = store(folder)
    home.mkdir(parents=True, exist_ok=True)
    digests = {name: _digest(table) for name, table in tables.items()}
    known: dict[Cell, dict[str, Any]] = {}
    for name, digest in digests.items():
        known.update(_read(home / f"{name}.jsonl", name, digest))
    # Same shapes one after the other: each process compiles them once.
    missing = sorted(
        (cell for cell in cells if cell not in known),
        key=lambda cell: (len(tables[cell.game]), cell.budget, cell.game, cell.seed),
    )
    if missing:
        started = time.perf_counter()
        with pool(min(workers, len(missing))) as processes:
            jobs = {
                processes.submit(_estimate, tables[cell.game], cell.budget, cell.seed): cell
                for cell in missing
            }
            for done, job in enumerate(as_completed(jobs), 1):
                cell, found = jobs[job], job.result()
                line = {"table": digests[cell.game], "budget": cell.budget, "seed": cell.seed}
                with (home / f"{cell.game}.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**line, **found}) + "\n")
                known[cell] = found
                seconds = time.perf_counter() - started
                left = _seconds_left(seconds, cell.budget, missing, done)
                print(
                    f"ours {done}/{len(missing)} {cell.game} {cell.budget}, about "
                    f"{left / 60:.0f} min left",
                    file=sys.stderr,
                    flush=True,
                )
    return {cell: known[cell] for cell in cells}


def _seconds_left(seconds: float, budget: int, missing: Sequence[Cell], done: int) -> float:
    """Assumes that a cell's time grows with its budget."""
    weights = [cell.budget for cell in missing]
    return seconds * (sum(weights) / max(sum(weights[:done]), 1) - 1.0)


def _estimate(table: Float[np.ndarray, "M"], budget: int, seed: int) -> dict[str, Any]:
    started = time.perf_counter()
    found = default_values(table, budget, seed)
    return {
        "values": found.values.tolist(),
        "lower": _plain(found.lower),
        "upper": _plain(found.upper),
        "evaluations": found.evaluations,
        "diagnostics": dict(found.diagnostics),
        "seconds": time.perf_counter() - started,
    }


def _plain(numbers: Float[np.ndarray, "n"]) -> list[float | None]:
    return [float(number) if np.isfinite(number) else None for number in numbers]


def _pin(cores: Queue[int]) -> None:
    os.sched_setaffinity(0, {cores.get()})


def _digest(table: Float[np.ndarray, "M"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(table, dtype=np.float64).tobytes()).hexdigest()


def _read(path: Path, game: str, digest: str) -> dict[Cell, dict[str, Any]]:
    if not path.exists():
        return {}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:  # a line that a kill left half written
            continue
        if entry.pop("table") == digest:
            found[Cell(game, entry.pop("budget"), entry.pop("seed"))] = entry
    return found
