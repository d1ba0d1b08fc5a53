"""Results of slow steps, kept as JSON so that an interrupted benchmark goes on where it was."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from benchmarks.support.values.estimator_cells import pool, store

__all__ = ["each"]


def each(
    part: str,
    jobs: Mapping[str, tuple[Any, ...]],
    function: Callable[..., dict[str, Any]],
    folder: Path,
    workers: int,
) -> dict[str, dict[str, Any]]:
    """Calls a function once a job, in processes of one thread, and keeps what it returns.

    Args:
        part: of the benchmark; with the job's name, the function's module and the estimator's
            code it tells results apart.
        jobs: arguments of each call, by a name that is a good file name and tells all that the
            arguments say.
        function: at the top level of a module; returns what JSON can hold.
        folder: of kept results.
        workers: processes.

    Returns:
        results in the order of the jobs.
    """
    home = store(folder) / f"{part}-{_code(function)}"
    home.mkdir(parents=True, exist_ok=True)
    missing = [name for name in jobs if not (home / f"{name}.json").exists()]
    if missing:
        started = time.perf_counter()
        with pool(min(workers, len(missing))) as processes:
            running = {processes.submit(function, *jobs[name]): name for name in missing}
            for done, job in enumerate(as_completed(running), 1):
                name = running[job]
                beside = home / f"{name}.part"
                beside.write_text(json.dumps(job.result()), encoding="utf-8")
                beside.replace(home / f"{name}.json")
                left = (time.perf_counter() - started) / done * (len(missing) - done)
                print(
                    f"{part} {done}/{len(missing)} {name}, about {left / 60:.0f} min left",
                    file=sys.stderr,
                    flush=True,
                )
    return {name: json.loads((home / f"{name}.json").read_text("utf-8")) for name in jobs}


def _code(function: Callable[..., dict[str, Any]]) -> str:
    source = inspect.getsourcefile(function)
    if source is None:
        raise ValueError(f"function {function} must be defined in a file")
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:8]
