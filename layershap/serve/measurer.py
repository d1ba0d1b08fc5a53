"""Measuring sets for a service: a child process with the model's workers, and its parent's side.

The child keeps PyTorch, Ray and their crashes out of the process that answers. It reads one JSON
object a line (`{"rows": ["1011", ...], "text": "calibration"}`) and answers with lines
`{"progress": ...}` and then one `{"result": ...}` or `{"error": ...}`. It ends when its input ends.
SIGINT stops what it measures; what arrived until then is in the ledger.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from jaxtyping import Bool

from layershap.serve.http.jobs import MeasuringFailed, Report
from layershap.terminal.console import Console

__all__ = ["RunMeasurer"]

LINGER_SECONDS = 20.0  # that a child keeps the model after its last measurement
STOP_SECONDS = 15.0  # that it has to stop in


class RunMeasurer:
    """Measures sets of a run; starts a child when there is something to measure."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()  # of starting and ending children: one at a time
        self._stopping = threading.Event()
        self._resting: asyncio.TimerHandle | None = None

    async def measure(
        self, rows: Bool[np.ndarray, "B n"], text: str, report: Report
    ) -> Mapping[str, Any]:
        """Measures coalitions; cancelling it stops the workers, and what arrived is kept.

        Raises:
            MeasuringFailed: if it cannot be done.
        """
        self._wake()
        self._stopping.clear()
        loop = asyncio.get_running_loop()
        asked = {"rows": ["".join("01"[int(k)] for k in row) for row in rows], "text": text}

        def pass_on(progress: Mapping[str, Any]) -> None:
            loop.call_soon_threadsafe(report, progress)

        # In a thread, with the standard library's way to start a process: that of an event loop
        # may fork, which JAX's threads do not survive.
        talk = asyncio.ensure_future(asyncio.to_thread(self._talk, json.dumps(asked), pass_on))
        try:
            result = await asyncio.shield(talk)
        except BaseException:
            await self.close()
            with suppress(Exception):
                await talk
            raise
        self._resting = loop.call_later(LINGER_SECONDS, self._let_go)
        return result

    async def close(self) -> None:
        """Stops the child, in good order if it can."""
        self._wake()
        self._stopping.set()
        await asyncio.to_thread(self._end, interrupt=True)

    def _talk(self, asked: str, report: Report) -> Mapping[str, Any]:
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):  # what it says before it ends tells why
            child.stdin.write(asked + "\n")
            child.stdin.flush()
        for line in child.stdout:
            answer = json.loads(line)
            if "progress" in answer:
                report(answer["progress"])
            elif "result" in answer:
                return answer["result"]
            else:
                raise MeasuringFailed(answer["error"])
        raise MeasuringFailed(
            f"the process that measures ended with status {child.wait()};"
            f" {self._run / 'serve.log'} tells more"
        )

    def _started(self) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopping.is_set():
                raise MeasuringFailed("stopped before it began")
            if self._child is None or self._child.poll() is not None:
                home = str(Path(__file__).parents[2])
                known = os.environ.get("PYTHONPATH")
                path = os.pathsep.join(filter(None, (home, known)))
                with open(self._run / "serve.log", "ab") as log:
                    self._child = subprocess.Popen(
                        (sys.executable, "-P", "-m", "layershap.serve.measurer", str(self._run)),
                        env={**os.environ, "PYTHONPATH": path},
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                        start_new_session=True,  # Ctrl-C is for the parent, which passes it on
                    )
            return self._child

    def _end(self, *, interrupt: bool) -> None:
        with self._lock:
            child, self._child = self._child, None
            if child is None:
                return
            if interrupt:
                child.send_signal(signal.SIGINT)
            with suppress(OSError):
                if child.stdin is not None:
                    child.stdin.close()
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            if not interrupt and child.stdout is not None:
                child.stdout.close()

    def _let_go(self) -> None:
        """Ends a child that has nothing to do."""
        threading.Thread(target=self._end, kwargs={"interrupt": False}, daemon=True).start()

    def _wake(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None


class _Reporting(Console):
    """Sends progress to a function instead of a terminal."""

    def __init__(self, report: Callable[[Any], None]) -> None:
        super().__init__(quiet=True)
        self._report = report

    @contextmanager
    def progress(
        self, task: str | None, note: Callable[[], str] | None = None
    ) -> Iterator[Callable[[Any], None] | None]:
        yield self._report


def _child(run: Path, asked: TextIO, answered: TextIO) -> None:
    from layershap.api.opening import open_run
    from layershap.runs.workspace import open_workspace

    def tell(**answer: Any) -> None:
        answered.write(json.dumps(answer, default=float) + "\n")
        answered.flush()

    opened = open_run(run)
    beside = 0  # the whole model is measured with the sets, although nobody asked for it

    def progress(p: Any) -> None:
        tell(
            progress={
                "done": max(0, p.done - beside),
                "total": p.total - beside,
                "rate": p.rate,
                "seconds_left": p.seconds_left,
                "workers": p.workers,
            }
        )

    with open_workspace(opened.config, opened.directory, _Reporting(progress)) as work:
        for line in asked:
            job = json.loads(line)
            rows = np.array([[kept == "1" for kept in row] for row in job["rows"]], dtype=bool)
            with_whole = np.concatenate([np.ones((1, rows.shape[1]), dtype=bool), rows])
            beside = int(not rows.all(axis=1).any())
            try:
                work.measure(job["text"], with_whole, "measuring")
            except (RuntimeError, ValueError) as error:
                tell(error=" ".join(str(error).split()) or type(error).__name__)
                return
            tell(result=_result(opened.measure(keep=rows, text=job["text"]), job["text"]))


def _result(frame: Any, text: str) -> dict[str, Any]:
    found = frame.to_dict("records")

    def number(value: float) -> float | None:
        return float(value) if math.isfinite(value) else None

    return {
        "metric": found[0]["metric"],
        "unit": found[0]["unit"],
        "text": text,
        "sets": [
            {
                "removed": list(one["removed"]),
                "dense": float(one["dense"]),
                **{name: number(one[name]) for name in ("value", "cost", "lower", "upper")},
            }
            for one in found
        ],
    }


def _main() -> None:
    # What Ray and PyTorch print goes to the log; the pipe carries answers alone.
    answered = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        _child(Path(sys.argv[1]), sys.stdin, answered)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    _main()
