"""One run: hands chunks to the pool, writes what comes back, and outlives its workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from cluster.errors import LedgerError, WorkerFailed, WorkerRefused
from cluster.ledger.campaign import Campaign
from cluster.scheduler.assignment import assign
from cluster.scheduler.events import Arrived, Died, Measured, NodeGone, WorkerEvent, WorkerHandle
from cluster.scheduler.pool import WorkerPool
from cluster.scheduler.queue import Chunk, WorkQueue
from cluster.scheduler.summary import Progress, Summary
from cluster.scheduler.worker import Fault, Reply

__all__ = ["Run"]

HEARTBEAT_SECONDS = 1.0
MEMORY_REMEDY = "give --memory or fewer workers"


class Run:
    """The state of one run.

    Args:
        campaign: where results are written.
        queue: what is to be measured.
        skipped: how many coalitions asked for were there already.
        max_attempts: deaths after which a worker that cannot start is given up.
        progress: told at each result and at least about once a second.
    """

    def __init__(
        self,
        campaign: Campaign,
        queue: WorkQueue,
        *,
        skipped: int,
        max_attempts: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.campaign = campaign
        self.queue = queue
        self.skipped = skipped
        self.max_attempts = max_attempts
        self.progress = progress
        self._measured = self._non_finite = 0
        self._count: Counter[str] = Counter()  # fields of the summary
        self._quarantined: list[tuple[str, ...]] = []
        self._news: list[WorkerEvent] = []
        self._false_starts: Counter[int] = Counter()
        self._deaths_in_a_row = 0
        self._began = time.perf_counter()
        self._ready_at: float | None = None
        self._busy_seconds = self._worker_seconds = self._rate = 0.0

    def until_finished(self, pool: WorkerPool) -> None:
        """Measures until nothing is left; whatever ends it early loses nothing that arrived.

        Raises:
            WorkerRefused: if a worker cannot measure its input.
            WorkerFailed: if a worker raises another error, or workers keep dying.
            LedgerError: if the ledger cannot be written.
        """
        hired = pool.hired - (len(pool.members) - len(pool.ready))
        self._began = time.perf_counter()
        if pool.ready:
            self._ready_at = self._began
        try:
            self._news.extend(pool.look())
            self._settle(pool)
            self._report(pool)
            while not self.queue.finished:
                assign(self.queue, pool)
                self._news.extend(pool.wait(HEARTBEAT_SECONDS))
                self._settle(pool)
                self._report(pool)
        except LedgerError:
            raise  # nothing more can be written
        except BaseException as error:
            self._rescue(pool)
            self.campaign.ledger.log_event(
                "run stopped", campaign=self.campaign.name, reason=type(error).__name__
            )
            raise
        for member in pool.ready:
            self._leave(member)
        self._count["hired"] = pool.hired - hired

    def summary(self, *, seconds: float, non_finite: int, failed: int) -> Summary:
        """Returns the account of a finished run.

        Args:
            seconds: its duration.
            non_finite: coalitions with this status that were there before.
            failed: coalitions with this status that were there before.
        """
        return Summary(
            measured=self._measured,
            skipped=self.skipped,
            non_finite=non_finite + self._non_finite,
            failed=failed + len(self._quarantined),
            seconds=seconds,
            rate=self._rate,
            busy=self._busy_seconds / self._worker_seconds if self._worker_seconds else 0.0,
            attempts=self.max_attempts,
            quarantined=tuple(self._quarantined),
            **self._count,
        )

    def _settle(self, pool: WorkerPool) -> None:
        """Writes all that arrived together, with one trip to the disk; then fills empty places."""
        if self._news:
            self._write(pool)
        pool.fill()

    def _write(self, pool: WorkerPool) -> None:
        problem: Exception | None = None
        with self.campaign.ledger.transaction():
            heard = 0
            while heard < len(self._news):  # hearing of a death may bring more
                problem = self._hear(pool, self._news[heard]) or problem
                heard += 1
        # Only now: after an interruption all of it is looked at once more.
        self._news.clear()
        if problem is not None:
            raise problem

    def _hear(self, pool: WorkerPool, news: WorkerEvent) -> Exception | None:
        """Takes in one piece of news; returns what must end the run."""
        match news:
            case Arrived():
                return self._arrived(news)
            case Measured():
                return self._answered(news)
            case Died():
                return self._died(pool, news)
            case NodeGone():
                self._count["nodes_lost"] += 1
                self.queue.forgive(news.node.name)
                self.campaign.ledger.log_event(
                    "node lost", host=news.node.host, node=news.node.name
                )
                return None

    def _arrived(self, news: Arrived) -> Exception | None:
        hello, member = news.hello, news.member
        log_event = self.campaign.ledger.log_event
        if hello.error:
            log_event("factory failed", worker=member.name, trace=hello.trace)
            return _problem(f"worker {member.name} could not start: {hello.error}", hello.fault)
        log_event(
            "worker ready",
            worker=member.name,
            host=hello.host,
            pid=hello.pid,
            node=hello.node,
            seconds=hello.seconds,
        )
        self._false_starts[member.slot] = 0
        if self._ready_at is None:
            self._ready_at = time.perf_counter()
        return None

    def _answered(self, news: Measured) -> Exception | None:
        chunk, reply, worker = news.chunk, news.reply, news.member.name
        if not self.queue.expects(chunk):
            return None  # it was handed out again meanwhile
        self._busy_seconds += reply.seconds
        if reply.error:
            return self._failed(news)
        rows = self._rows(chunk)
        self.campaign.record(rows, reply.metrics, worker, reply.seconds)
        self.queue.done(chunk, reply.seconds, news.member.pace)
        self._measured += len(chunk)
        self._non_finite += self._without_values(reply)
        self._deaths_in_a_row = 0
        return None

    def _without_values(self, reply: Reply) -> int:
        """Returns how many rows the ledger calls non-finite."""
        with np.errstate(over="ignore"):  # as stored: what float32 cannot hold is infinite
            arrays = {
                name: np.asarray(values, dtype=np.float32) for name, values in reply.metrics.items()
            }
        if all(np.isfinite(values).all() for values in arrays.values()):
            return 0
        finite = [column.finite(arrays[column.name]) for column in self.campaign.columns]
        return int((~np.all(finite, axis=0)).sum())

    def _failed(self, news: Measured) -> Exception | None:
        chunk, reply, worker = news.chunk, news.reply, news.member.name
        log_event = self.campaign.ledger.log_event
        if reply.fault == "memory":
            self._count["halved"] += 1
            log_event("out of memory", worker=worker, coalitions=len(chunk), reason=reply.error)
            if self.queue.too_large(chunk):
                self._count["retries"] += 1
                return None
            text = f"one coalition does not fit into the memory of worker {worker}: {reply.error}"
            return _problem(text, reply.fault)
        log_event("evaluator failed", worker=worker, trace=reply.trace)
        text = f"worker {worker} failed on {len(chunk)} coalitions: {reply.error}"
        return _problem(text, reply.fault)

    def _died(self, pool: WorkerPool, news: Died) -> Exception | None:
        member, log_event = news.member, self.campaign.ledger.log_event
        running = news.running
        if running is not None and len(running) == 1:
            self._news.extend(pool.look())  # a death on a dying machine is no fault of the rows
        lost = news.cause == "node" or bool(member.node and not pool.alive(member.node))
        cause = "node" if lost else news.cause
        self._leave(member)
        self._count["deaths"] += 1
        log_event(
            "worker died",
            worker=member.name,
            coalitions=0 if running is None else len(running),
            cause=cause,
            reason=news.reason,
        )
        for chunk in reversed(news.queued):
            self.queue.give_back(chunk)
        if running is not None:
            self._take_back(running, member, cause, news.reason)
        if cause != "node":
            self._deaths_in_a_row += 1
            if not member.name:
                self._false_starts[member.slot] += 1
        # Above what one deadly coalition causes beside the others; below, a broken machine would
        # quarantined coalition after coalition for no fault of theirs.
        if self._deaths_in_a_row >= 4 * self.max_attempts + 2 * max(pool.size, 1):
            return WorkerFailed(
                f"{self._deaths_in_a_row} workers died one after another and none finished a chunk"
                f" ({news.reason}); use fewer workers if memory is short"
            )
        if self._false_starts[member.slot] >= self.max_attempts:
            pool.give_up(member.slot)
            if not pool.size and not pool.members:
                return WorkerFailed(
                    f"no worker survives its start ({news.reason}); use fewer workers if memory is"
                    " short"
                )
            self._count["given_up"] += 1
            log_event("worker given up", slot=member.slot, reason=news.reason)
        return None

    def _take_back(self, chunk: Chunk, member: WorkerHandle, cause: str, reason: str) -> None:
        """Decides about the chunk that a worker was at when it died."""
        if cause == "node":
            self.queue.lost(chunk)
        elif self.queue.died(chunk, member.node, certain=cause == "process"):
            row = self._rows(chunk)[0]
            players = self.campaign.players
            removed = tuple(name for name, kept in zip(players, row, strict=True) if not kept)
            self.campaign.quarantine(row, member.name)
            self.campaign.ledger.log_event("coalition quarantined", removed=removed, reason=reason)
            self._quarantined.append(removed)
            return
        self._count["retries"] += 1
        self._count["again"] += len(chunk)

    def _leave(self, member: WorkerHandle) -> None:
        """Counts the time of a worker that ends, or whose run does."""
        if member.name:
            since = max(member.ready_at, self._began)
            self._worker_seconds += max(time.perf_counter() - since, 0.0)

    def _rescue(self, pool: WorkerPool) -> None:
        """Writes what has arrived and is not written yet."""
        with self.campaign.ledger.transaction():
            for news in (*self._news, *pool.wait(0)):
                if isinstance(news, Measured) and not news.reply.error:
                    rows = self._rows(news.chunk)
                    # The interruption may have come between the commit and the next statement.
                    if self.campaign.missing(rows, retry_failed=True).all():
                        self.campaign.record(
                            rows, news.reply.metrics, news.member.name, news.reply.seconds
                        )

    def _rows(self, chunk: Chunk) -> Bool[np.ndarray, "B n"]:
        return self.queue.coalitions[chunk.start : chunk.stop]

    def _report(self, pool: WorkerPool) -> None:
        queue, left = self.queue, None
        if self._ready_at is not None and self._measured:
            elapsed = max(time.perf_counter() - self._ready_at, 1e-9)
            self._rate = self._measured / elapsed
            left = elapsed * max(queue.cost_total / max(queue.cost_done, 1e-9) - 1.0, 0.0)
        if self.progress is not None:
            self.progress(
                Progress(
                    done=self.skipped + self._measured + len(self._quarantined),
                    total=self.skipped + len(queue.coalitions),
                    rate=self._rate,
                    seconds_left=0.0 if queue.finished else left,
                    non_finite=self._non_finite,
                    failed=len(self._quarantined),
                    workers=len(pool.ready),
                )
            )


def _problem(text: str, fault: Fault) -> Exception:
    """Returns what a worker's exception becomes."""
    if fault == "input":
        return WorkerRefused(text)
    return WorkerFailed(f"{text}; {MEMORY_REMEDY}" if fault == "memory" else text)
