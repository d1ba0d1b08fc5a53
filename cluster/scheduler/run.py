"""One run: hands chunks to the crew, writes what comes back, and outlives its workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from cluster.errors import LedgerError, WorkerFailed, WorkerRefused
from cluster.ledger.campaign import Campaign
from cluster.scheduler.assignment import hand_out
from cluster.scheduler.events import Arrived, Died, Measured, Member, News, NodeGone
from cluster.scheduler.pool import Crew
from cluster.scheduler.queue import Backlog, Chunk
from cluster.scheduler.summary import Progress, Summary
from cluster.scheduler.worker import Fault, Reply

__all__ = ["Run"]

HEARTBEAT_SECONDS = 1.0
MEMORY_REMEDY = "give --memory or fewer workers"


class Run:
    """The state of one run.

    Args:
        campaign: where results are written.
        backlog: what is to be measured.
        skipped: how many coalitions asked for were there already.
        max_attempts: deaths after which a worker that cannot start is given up.
        progress: told at each result and at least about once a second.
    """

    def __init__(
        self,
        campaign: Campaign,
        backlog: Backlog,
        *,
        skipped: int,
        max_attempts: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.campaign = campaign
        self.backlog = backlog
        self.skipped = skipped
        self.max_attempts = max_attempts
        self.progress = progress
        self._measured = self._non_finite = 0
        self._count: Counter[str] = Counter()  # fields of the summary
        self._set_aside: list[tuple[str, ...]] = []
        self._news: list[News] = []
        self._false_starts: Counter[int] = Counter()
        self._deaths_in_a_row = 0
        self._began = time.perf_counter()
        self._ready_at: float | None = None
        self._busy_seconds = self._worker_seconds = self._rate = 0.0

    def until_finished(self, crew: Crew) -> None:
        """Measures until nothing is left; whatever ends it early loses nothing that arrived.

        Raises:
            WorkerRefused: if a worker cannot measure its input.
            WorkerFailed: if a worker raises another error, or workers keep dying.
            LedgerError: if the ledger cannot be written.
        """
        hired = crew.hired - (len(crew.members) - len(crew.ready))
        self._began = time.perf_counter()
        if crew.ready:
            self._ready_at = self._began
        try:
            self._news.extend(crew.look())
            self._settle(crew)
            self._report(crew)
            while not self.backlog.finished:
                hand_out(self.backlog, crew)
                self._news.extend(crew.wait(HEARTBEAT_SECONDS))
                self._settle(crew)
                self._report(crew)
        except LedgerError:
            raise  # nothing more can be written
        except BaseException as error:
            self._rescue(crew)
            self.campaign.ledger.note(
                "run stopped", campaign=self.campaign.name, reason=type(error).__name__
            )
            raise
        for member in crew.ready:
            self._leave(member)
        self._count["hired"] = crew.hired - hired

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
            failed=failed + len(self._set_aside),
            seconds=seconds,
            rate=self._rate,
            busy=self._busy_seconds / self._worker_seconds if self._worker_seconds else 0.0,
            attempts=self.max_attempts,
            set_aside=tuple(self._set_aside),
            **self._count,
        )

    def _settle(self, crew: Crew) -> None:
        """Writes all that arrived together, with one trip to the disk."""
        if not self._news:
            return
        problem: Exception | None = None
        with self.campaign.ledger.together():
            heard = 0
            while heard < len(self._news):  # hearing of a death may bring more
                problem = self._hear(crew, self._news[heard]) or problem
                heard += 1
        # Only now: after an interruption all of it is looked at once more.
        self._news.clear()
        if problem is not None:
            raise problem

    def _hear(self, crew: Crew, news: News) -> Exception | None:
        """Takes in one piece of news; returns what must end the run."""
        match news:
            case Arrived():
                return self._arrived(news)
            case Measured():
                return self._answered(news)
            case Died():
                return self._died(crew, news)
            case NodeGone():
                self._count["nodes_lost"] += 1
                self.backlog.forgive(news.node.name)
                self.campaign.ledger.note("node lost", host=news.node.host, node=news.node.name)
                return None

    def _arrived(self, news: Arrived) -> Exception | None:
        hello, member = news.hello, news.member
        note = self.campaign.ledger.note
        if hello.error:
            note("factory failed", worker=member.name, trace=hello.trace)
            return _problem(f"worker {member.name} could not start: {hello.error}", hello.fault)
        note(
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
        if not self.backlog.expects(chunk):
            return None  # it was handed out again meanwhile
        self._busy_seconds += reply.seconds
        if reply.error:
            return self._failed(news)
        rows = self._rows(chunk)
        self.campaign.record(rows, reply.metrics, worker, reply.seconds)
        self.backlog.done(chunk, reply.seconds, news.member.pace)
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
        note = self.campaign.ledger.note
        if reply.fault == "memory":
            self._count["halved"] += 1
            note("out of memory", worker=worker, coalitions=len(chunk), reason=reply.error)
            if self.backlog.too_large(chunk):
                self._count["retries"] += 1
                return None
            text = f"one coalition does not fit into the memory of worker {worker}: {reply.error}"
            return _problem(text, reply.fault)
        note("evaluator failed", worker=worker, trace=reply.trace)
        text = f"worker {worker} failed on {len(chunk)} coalitions: {reply.error}"
        return _problem(text, reply.fault)

    def _died(self, crew: Crew, news: Died) -> Exception | None:
        member, note = news.member, self.campaign.ledger.note
        running = news.running
        if running is not None and len(running) == 1:
            self._news.extend(crew.look())  # a death on a dying machine is no fault of the rows
        lost = news.cause == "node" or bool(member.node and not crew.alive(member.node))
        cause = "node" if lost else news.cause
        self._leave(member)
        self._count["deaths"] += 1
        note(
            "worker died",
            worker=member.name,
            coalitions=0 if running is None else len(running),
            cause=cause,
            reason=news.reason,
        )
        for chunk in reversed(news.queued):
            self.backlog.give_back(chunk)
        if running is not None:
            self._take_back(running, member, cause, news.reason)
        if cause != "node":
            self._deaths_in_a_row += 1
            if not member.name:
                self._false_starts[member.slot] += 1
        # Above what one deadly coalition causes beside the others; below, a broken machine would
        # set aside coalition after coalition for no fault of theirs.
        if self._deaths_in_a_row >= 4 * self.max_attempts + 2 * max(crew.size, 1):
            return WorkerFailed(
                f"{self._deaths_in_a_row} workers died one after another and none finished a chunk"
                f" ({news.reason}); use fewer workers if memory is short"
            )
        if self._false_starts[member.slot] >= self.max_attempts:
            if not crew.members:
                return WorkerFailed(
                    f"no worker survives its start ({news.reason}); use fewer workers if memory is"
                    " short"
                )
            crew.give_up(member.slot)
            self._count["given_up"] += 1
            note("worker given up", slot=member.slot, reason=news.reason)
        crew.fill()
        return None

    def _take_back(self, chunk: Chunk, member: Member, cause: str, reason: str) -> None:
        """Decides about the chunk that a worker was at when it died."""
        if cause == "node":
            self.backlog.lost(chunk)
        elif self.backlog.died(chunk, member.node, certain=cause == "process"):
            row = self._rows(chunk)[0]
            players = self.campaign.players
            removed = tuple(name for name, kept in zip(players, row, strict=True) if not kept)
            self.campaign.set_aside(row, member.name)
            self.campaign.ledger.note("coalition set aside", removed=removed, reason=reason)
            self._set_aside.append(removed)
            return
        self._count["retries"] += 1
        self._count["again"] += len(chunk)

    def _leave(self, member: Member) -> None:
        """Counts the time of a worker that ends, or whose run does."""
        if member.name:
            since = max(member.ready_at, self._began)
            self._worker_seconds += max(time.perf_counter() - since, 0.0)

    def _rescue(self, crew: Crew) -> None:
        """Writes what has arrived and is not written yet."""
        with self.campaign.ledger.together():
            for news in (*self._news, *crew.wait(0)):
                if isinstance(news, Measured) and not news.reply.error:
                    rows = self._rows(news.chunk)
                    # The interruption may have come between the commit and the next statement.
                    if self.campaign.missing(rows, retry_failed=True).all():
                        self.campaign.record(
                            rows, news.reply.metrics, news.member.name, news.reply.seconds
                        )

    def _rows(self, chunk: Chunk) -> Bool[np.ndarray, "B n"]:
        return self.backlog.coalitions[chunk.start : chunk.stop]

    def _report(self, crew: Crew) -> None:
        backlog, left = self.backlog, None
        if self._ready_at is not None and self._measured:
            elapsed = max(time.perf_counter() - self._ready_at, 1e-9)
            self._rate = self._measured / elapsed
            left = elapsed * max(backlog.cost_total / max(backlog.cost_done, 1e-9) - 1.0, 0.0)
        if self.progress is not None:
            self.progress(
                Progress(
                    done=self.skipped + self._measured + len(self._set_aside),
                    total=self.skipped + len(backlog.coalitions),
                    rate=self._rate,
                    seconds_left=0.0 if backlog.finished else left,
                    non_finite=self._non_finite,
                    failed=len(self._set_aside),
                    workers=len(crew.ready),
                )
            )


def _problem(text: str, fault: Fault) -> Exception:
    """Returns what a worker's exception becomes."""
    if fault == "input":
        return WorkerRefused(text)
    return WorkerFailed(f"{text}; {MEMORY_REMEDY}" if fault == "memory" else text)
