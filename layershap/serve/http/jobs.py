"""Measurements on the real model, one after the other, while the service goes on answering."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Bool

from layershap.serve.http.errors import ServiceError
from layershap.serve.http.limits import Limits

__all__ = ["ENDED", "Job", "JobQueue", "Measurer", "MeasuringFailed", "Report"]

State = Literal["waiting", "running", "cancelling", "done", "cancelled", "failed"]
ENDED: frozenset[State] = frozenset({"done", "cancelled", "failed"})
Report = Callable[[Mapping[str, Any]], None]

log = logging.getLogger("layershap.service")


class MeasuringFailed(Exception):
    """A measurement that could not be done; the message is for people."""


class Measurer(Protocol):
    """What measures sets on the real model."""

    async def measure(
        self, rows: Bool[np.ndarray, "B n"], text: str, report: Report
    ) -> Mapping[str, Any]:
        """Measures coalitions; whoever cancels it gets it back when everything has stopped.

        Args:
            rows: True = kept.
            text: ``calibration`` or ``heldout``.
            report: told of progress, as `schemas.Progress`.

        Returns:
            A `schemas.JobResult`, its sets in the order of the rows.

        Raises:
            MeasuringFailed: if it cannot be done.
        """
        ...

    async def close(self) -> None:
        """Stops whatever it keeps ready."""
        ...


@dataclass(eq=False)
class Job:
    """A measurement that was asked for; its attributes change while it runs.

    Attributes:
        rows: coalitions, True = kept.
        text: on which they are measured.
        id: what clients call it; cannot be guessed.
        state: how far it is.
        created: seconds since 1970, as `started` and `finished`.
        progress: as last reported.
        result: what was found.
        error: why it failed.
    """

    rows: Bool[np.ndarray, "B n"]
    text: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    state: State = "waiting"
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    progress: Mapping[str, Any] | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns a `schemas.Job`."""
        shown = {name: value for name, value in vars(self).items() if name != "rows"}
        return {**shown, "sets": len(self.rows)}


class JobQueue:
    """The jobs of a service; it belongs to one event loop."""

    def __init__(self, measurer: Measurer, limits: Limits, changed: Callable[[], None]) -> None:
        """Starts with no jobs.

        Args:
            measurer: does them.
            limits: of how many wait and are remembered.
            changed: called when a job has ended.
        """
        self._measurer, self._limits, self._changed = measurer, limits, changed
        self._jobs: dict[str, Job] = {}
        self._worker: asyncio.Task[None] | None = None
        self._running: tuple[Job, asyncio.Task[Mapping[str, Any]]] | None = None
        self._closing = False

    @property
    def jobs(self) -> list[Job]:
        """All that are remembered, the newest first."""
        return list(reversed(self._jobs.values()))

    def counts(self) -> Counter[str]:
        """Returns how many are in which state."""
        return Counter(job.state for job in self._jobs.values())

    def add(self, rows: Bool[np.ndarray, "B n"], text: str) -> Job:
        """Queues a measurement.

        Raises:
            ServiceError: 429 if too many wait.
        """
        most = self._limits.waiting_jobs
        if self.counts()["waiting"] >= most:
            raise ServiceError(
                429,
                "too_many_measurements",
                f"measurements: at most {most} may wait; ask again when one has ended",
                headers={"Retry-After": "10"},
            )
        if self._closing:
            raise ServiceError(503, "shutting_down", "the service is shutting down")
        job = Job(rows, text)
        self._jobs[job.id] = job
        self._forget()
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return job

    def get(self, name: str) -> Job:
        """Returns a job.

        Raises:
            ServiceError: 404 if there is none of this id.
        """
        try:
            return self._jobs[name]
        except KeyError:
            raise ServiceError(
                404, "unknown_measurement", "id: no such measurement; it may be forgotten", "id"
            ) from None

    def cancel(self, job: Job) -> None:
        """Takes a job back: at once while it waits, soon while it runs, not when it has ended."""
        if job.state == "waiting":
            job.state, job.finished = "cancelled", time.time()
        elif job.state == "running" and self._running is not None and self._running[0] is job:
            job.state = "cancelling"
            self._running[1].cancel()

    async def close(self) -> None:
        """Cancels everything and returns when all has stopped; what was measured is kept."""
        self._closing = True
        for job in self._jobs.values():
            self.cancel(job)
        if self._worker is not None:
            await self._worker
        await self._measurer.close()

    async def _work(self) -> None:
        while job := next((j for j in self._jobs.values() if j.state == "waiting"), None):
            job.state, job.started = "running", time.time()
            task = asyncio.ensure_future(self._do(job))
            self._running = job, task
            try:
                job.result = await task
                job.state = "done"
            except asyncio.CancelledError:
                job.state = "cancelled"
            except MeasuringFailed as error:
                log.warning("measurement %s failed: %s", job.id, error)
                job.state, job.error = "failed", str(error)
            except Exception:
                log.exception("measurement %s failed", job.id)
                job.state, job.error = "failed", f"the log tells more about measurement {job.id}"
            finally:
                self._running, job.finished = None, time.time()
                with contextlib.suppress(RuntimeError):
                    self._changed()
        self._worker = None

    async def _do(self, job: Job) -> Mapping[str, Any]:
        def report(progress: Mapping[str, Any]) -> None:
            job.progress = progress

        return await self._measurer.measure(job.rows, job.text, report)

    def _forget(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.state in ENDED]
        for name in ended[: max(0, len(ended) - self._limits.finished_jobs)]:
            del self._jobs[name]
