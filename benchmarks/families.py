"""Every decoder of the installed transformers, from its files to a smaller checkpoint.

    python -m benchmarks.families --json FILE --page docs/families.md [FAMILY ...]

Each family is made tiny from its own configuration class, measured without layers and without
halves against plain forwards, exported, loaded again by stock transformers and generated with and
without a cache. Each has a process and a deadline of its own, so that a crash ends nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["sweep"]


def sweep(kinds: list[str], deadline: float, progress: Any = None) -> list[dict[str, Any]]:
    """Check families one after the other, each in a process of its own.

    Args:
        kinds: model types.
        deadline: seconds that one may take.
        progress: called with each result.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.support.families.preloaded"])
    found = []
    for kind in kinds:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_one, args=(kind, theirs))
        started = time.perf_counter()
        process.start()
        theirs.close()
        result = _answer(ours, kind, deadline)
        process.kill()
        process.join()
        result["seconds"] = round(time.perf_counter() - started, 1)
        found.append(result)
        if progress is not None:
            progress(result)
    return found


def _answer(ours: Any, kind: str, deadline: float) -> dict[str, Any]:
    if not ours.poll(deadline):
        return {"family": kind, "built": f"error: took more than {deadline:.0f} s"}
    try:
        return ours.recv()
    except EOFError:
        return {"family": kind, "built": "error: its process died"}


def _one(kind: str, pipe: Any) -> None:
    from benchmarks.support.families.check import checked

    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    with tempfile.TemporaryDirectory() as folder:
        pipe.send(checked(kind, Path(folder)))


def main() -> None:
    """Sweeps."""
    from benchmarks.support.families.table import page
    from benchmarks.support.families.tiny import families

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("family", nargs="*", help="model types; all when omitted")
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--page", type=Path, help="where to write them as a page of Markdown")
    parser.add_argument("--deadline", type=float, default=120.0, help="seconds a family [120]")
    options = parser.parse_args()

    def told(result: dict[str, Any]) -> None:
        rest = {k: v for k, v in result.items() if k not in ("family", "seconds") and v != "exact"}
        print(result["family"], result["seconds"], rest or "exact", flush=True)

    found = sweep(options.family or list(families()), options.deadline, told)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    if options.page:
        options.page.write_text(page(found, version("transformers")), "utf-8")


if __name__ == "__main__":
    main()
