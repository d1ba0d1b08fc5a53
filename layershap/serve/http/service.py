"""The state of a running service: what it answers from, its queue, its measurements."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Bool

from layershap.api.answering import Answers
from layershap.serve.http.batching import Batcher
from layershap.serve.http.errors import ServiceError
from layershap.serve.http.jobs import JobQueue, Measurer
from layershap.serve.http.limits import Limits
from layershap.serve.http.metrics import ServiceMetrics
from layershap.serve.http.predictor import Predictor
from layershap.serve.http.snapshot import Snapshot, Source

__all__ = ["Service"]

LOOK_SECONDS = 2.0  # between looks at whether the run has changed
REST = 10.0  # times as long as reading took: a run that goes on changes all the time

log = logging.getLogger("layershap.service")


class Service:
    """What the routes of an app share.

    Attributes:
        limits: of requests.
        metrics: of this app.
        board: measurements; None where nothing measures.
    """

    def __init__(
        self,
        source: Source,
        limits: Limits,
        measurer: Measurer | None = None,
        page: Callable[[], str] | None = None,
    ) -> None:
        self.limits, self.metrics = limits, ServiceMetrics()
        self._source, self._measurer, self._make_page = source, measurer, page
        self.board: JobQueue | None = None
        self._oracle: Predictor | None = None
        self._page: tuple[Predictor, str] | None = None
        self._page_lock: asyncio.Lock | None = None
        self._batcher: Batcher | None = None
        self._stamp: object = None
        self._look_now: asyncio.Event | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self._oracle is not None and self._batcher is not None

    @property
    def oracle(self) -> Predictor:
        """What answers now.

        Raises:
            ServiceError: 503 while the run is being read, or after the service was closed.
        """
        if self._oracle is None or self._batcher is None:
            raise ServiceError(
                503,
                "not_ready",
                "the service is starting or shutting down; see /ready",
                headers={"Retry-After": "1"},
            )
        return self._oracle

    async def open(self) -> None:
        """Reads the run and begins to answer."""
        self._page_lock, self._look_now = asyncio.Lock(), asyncio.Event()
        await self._load()
        self._batcher = Batcher(self.limits.waiting_sets, self.metrics.batch)
        if self._measurer is not None:
            self.board = JobQueue(self._measurer, self.limits, self._look_now.set)
        self._watching = asyncio.create_task(self._watch(self._look_now))

    async def close(self) -> None:
        """Stops: waiting predictions are answered, measurements end and keep what they have."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        if self.board is not None:
            await self.board.close()
        if self._batcher is not None:
            batcher, self._batcher = self._batcher, None
            await batcher.close()

    async def answers(
        self, oracle: Predictor, rows: Bool[np.ndarray, "B n"], level: float
    ) -> Answers:
        """Returns what is said of coalitions.

        Raises:
            ServiceError: 503 where too many wait.
        """
        if self._batcher is None:
            raise ServiceError(503, "shutting_down", "the service is shutting down")
        return oracle.answers(rows, level, await self._batcher(oracle, rows))

    async def page(self) -> str | None:
        """Returns the page for people, made anew when the run has changed; None without one."""
        oracle = self.oracle
        if self._make_page is None or self._page_lock is None:
            return None
        async with self._page_lock:
            if self._page is None or self._page[0] is not oracle:
                self._page = oracle, await asyncio.to_thread(self._make_page)
            return self._page[1]

    async def _load(self) -> None:
        def read(known: Predictor | None) -> tuple[object, Predictor]:
            stamp = self._source.stamp()  # before: what changes meanwhile is read again
            oracle = Predictor(self._source.load())
            if known is not None:
                _check_same(known.snapshot, oracle.snapshot)
            oracle.warm_up()
            return stamp, oracle

        try:
            self._stamp, self._oracle = await asyncio.to_thread(partial(read, self._oracle))
        except Exception:
            self.metrics.loads.labels("failed").inc()
            raise
        self.metrics.loads.labels("done").inc()
        self.metrics.measured_sets.set(len(self._oracle.snapshot.utilities))

    async def _watch(self, look_now: asyncio.Event) -> None:
        refused: object = None
        rest = LOOK_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(look_now.wait(), rest)
            look_now.clear()
            stamp: object = None
            try:
                stamp = await asyncio.to_thread(self._source.stamp)
                if stamp not in (self._stamp, refused):
                    began = time.monotonic()
                    await self._load()
                    rest = max(LOOK_SECONDS, REST * (time.monotonic() - began))
                    log.info("the run has changed and was read again")
            except Exception as error:  # it goes on with what it has; a write may be half done
                if stamp != refused:
                    log.warning("the run has changed and cannot be read: %s", error)
                refused = stamp


def _check_same(old: Snapshot, new: Snapshot) -> None:
    if (old.players, old.metric, dict(old.names)) != (new.players, new.metric, dict(new.names)):
        raise ValueError("the run now has other players or another metric; start the service anew")
