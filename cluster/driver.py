"""The driver: hands chunks to the crew, writes what comes back, and outlives its workers."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from jaxtyping import Bool

import sampling
from cluster.actors import Factory
from cluster.backlog import Backlog, Chunk
from cluster.campaign import Campaign
from cluster.crew import Arrived, Crew, Died, Measured
from cluster.errors import LedgerError, WorkerFailed
from cluster.outcome import Progress, Summary

__all__ = ["measure"]

HEARTBEAT_SECONDS = 1.0


def measure(
    campaign: Campaign,
    evaluators: Factory | Crew,
    coalitions: Bool[np.ndarray, "B n"],
    *,
    workers: int = 1,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0.0,
    progress: Callable[[Progress], None] | None = None,
    max_attempts: int = 3,
    head_cost: float = 2.0,
    chunk_seconds: float = 3.0,
    retry_failed: bool = False,
) -> Summary:
    """Measures those of the coalitions that the ledger lacks, on Ray actors.

    Every result is written as it arrives. A chunk whose worker dies is cut in two and handed out
    again; a coalition that kills ``max_attempts`` workers alone is set aside with the status
    ``"failed"``, and the others complete. A run that was stopped, in whatever way, goes on where
    it was when it is started again.

    Args:
        campaign: of a ledger opened for writing.
        evaluators: builds an evaluator, called once inside each actor that this call starts; or a
            crew that is at work already and stays so, for callers that measure in small steps.
        coalitions: rows, True = kept; repeated rows count once.
        workers: number of actors, where they are started here.
        cpus_per_worker: CPUs and compute threads of each.
        gpus_per_worker: GPUs of each; parts of one are allowed.
        progress: called at each result and at least about once a second.
        max_attempts: deaths after which a coalition, or a worker that cannot start, is given up.
        head_cost: cost of the model's head in layer evaluations, to size the chunks.
        chunk_seconds: longest chunk wanted, which is also what a death can cost.
        retry_failed: measure again what an earlier run set aside.

    Returns:
        what was measured, what was already there, and what went wrong.

    Raises:
        WorkerFailed: if the factory or the evaluator raises an error, or workers keep dying. What
            was measured before is in the ledger.
        LedgerError: if the ledger cannot be written.
        ValueError: if Ray is not connected or has no room for a worker.
    """
    for name, value in (("workers", workers), ("max_attempts", max_attempts)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}; give a positive number")
    began = time.perf_counter()
    asked = sampling.distinct(coalitions)
    todo = asked[campaign.missing(asked, retry_failed=retry_failed)]
    todo = todo[sampling.lexicographic_order(todo)]
    if isinstance(evaluators, Crew):
        workers = max(1, len(evaluators.members))
    run = _Run(
        campaign,
        Backlog(
            todo,
            workers=workers,
            head_cost=head_cost,
            chunk_seconds=chunk_seconds,
            max_attempts=max_attempts,
        ),
        skipped=len(asked) - len(todo),
        # Above what one deadly coalition causes beside the others; below, a broken machine would
        # set aside coalition after coalition for no fault of theirs.
        patience=4 * max_attempts + 2 * workers,
        max_attempts=max_attempts,
        progress=progress,
    )
    if len(todo):
        campaign.ledger.note(
            "run started", campaign=campaign.name, missing=len(todo), workers=workers
        )
        lent = (
            nullcontext(evaluators)
            if isinstance(evaluators, Crew)
            else Crew(
                evaluators,
                workers=workers,
                cpus_per_worker=cpus_per_worker,
                gpus_per_worker=gpus_per_worker,
            )
        )
        with lent as crew:
            run.until_finished(crew)
    seconds = time.perf_counter() - began
    status = Counter(campaign.statuses(asked))
    summary = Summary(
        measured=run.measured,
        skipped=run.skipped,
        non_finite=status["non-finite"],
        failed=status["failed"],
        seconds=seconds,
        rate=run.rate,
        deaths=run.deaths,
        retries=run.retries,
    )
    if len(todo):
        campaign.ledger.note("run finished", campaign=campaign.name, **vars(summary))
    return summary


class _Run:
    """The state of one run."""

    def __init__(
        self,
        campaign: Campaign,
        backlog: Backlog,
        *,
        skipped: int,
        patience: int,
        max_attempts: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.campaign = campaign
        self.backlog = backlog
        self.skipped = skipped
        self.patience = patience
        self.max_attempts = max_attempts
        self.progress = progress
        self.measured = self.non_finite = self.failed = self.deaths = self.retries = 0
        self._news: deque[Arrived | Measured | Died] = deque()
        self._false_starts: Counter[int] = Counter()
        self._deaths_in_a_row = 0
        self._ready_at: float | None = None
        self._cost_done = 0.0
        self._cost_total = backlog.costs.of_run(0, len(backlog.coalitions))

    @property
    def rate(self) -> float:
        """Coalitions a second since the first worker was ready."""
        if self._ready_at is None or not self.measured:
            return 0.0
        return self.measured / max(time.perf_counter() - self._ready_at, 1e-9)

    def until_finished(self, crew: Crew) -> None:
        """Measures until nothing is left; whatever ends it early loses nothing that arrived."""
        note = self.campaign.ledger.note
        if crew.ready:
            self._ready_at = time.perf_counter()
        try:
            self._report(crew)
            while not self.backlog.finished:
                self._hand_out(crew)
                self._news.extend(crew.wait(HEARTBEAT_SECONDS))
                while self._news:
                    self._hear(crew, self._news[0])
                    self._news.popleft()
                self._report(crew)
        except LedgerError:
            raise  # nothing more can be written
        except BaseException as error:
            self._rescue(crew)
            note("run stopped", campaign=self.campaign.name, reason=type(error).__name__)
            raise

    def _hand_out(self, crew: Crew) -> None:
        """Gives every worker a chunk, then a second one to go on with while its result travels."""
        for depth in (0, 1):
            for member in crew.ready:
                # Near the end a second chunk would only wait behind a busy worker.
                if depth and self.backlog.waiting <= len(crew.ready):
                    return
                if len(member.flights) == depth and (chunk := self.backlog.take()):
                    crew.assign(member, chunk, self._rows(chunk))

    def _hear(self, crew: Crew, news: Arrived | Measured | Died) -> None:
        match news:
            case Arrived():
                self._arrived(news)
            case Measured():
                self._write(news)
            case Died():
                self._died(crew, news)

    def _arrived(self, news: Arrived) -> None:
        hello, member = news.hello, news.member
        if hello.error:
            self.campaign.ledger.note("factory failed", worker=member.name, trace=hello.trace)
            raise WorkerFailed(f"worker {member.name} could not start: {hello.error}")
        self.campaign.ledger.note(
            "worker ready",
            worker=member.name,
            host=hello.host,
            pid=hello.pid,
            seconds=hello.seconds,
        )
        self._false_starts[member.slot] = 0
        if self._ready_at is None:
            self._ready_at = time.perf_counter()

    def _write(self, news: Measured) -> None:
        chunk, reply, worker = news.chunk, news.reply, news.member.name
        if reply.error:
            self.campaign.ledger.note("evaluator failed", worker=worker, trace=reply.trace)
            raise WorkerFailed(f"worker {worker} failed on {len(chunk)} coalitions: {reply.error}")
        rows = self._rows(chunk)
        self.campaign.record(rows, reply.metrics, worker, reply.seconds)
        self.backlog.done(chunk, reply.seconds)
        self.measured += len(chunk)
        utilities = self.campaign.utilities(np.asarray(reply.metrics["nll"]))
        self.non_finite += int(np.isnan(utilities).sum())
        self._cost_done += self.backlog.costs.of_run(chunk.start, chunk.stop)
        self._deaths_in_a_row = 0

    def _died(self, crew: Crew, news: Died) -> None:
        member, note = news.member, self.campaign.ledger.note
        self.deaths += 1
        self._deaths_in_a_row += 1
        size = 0 if news.running is None else len(news.running)
        note("worker died", worker=member.name, coalitions=size, reason=news.reason)
        for chunk in reversed(news.queued):
            self.backlog.give_back(chunk)
        if news.running is None:
            self._false_starts[member.slot] += 1
        elif self.backlog.died(news.running):
            row = self._rows(news.running)[0]
            self.campaign.set_aside(row, member.name)
            removed = [
                name for name, kept in zip(self.campaign.players, row, strict=True) if not kept
            ]
            note("coalition set aside", removed=removed, reason=news.reason)
            self.failed += 1
        else:
            self.retries += 1
        if self._deaths_in_a_row >= self.patience:
            raise WorkerFailed(
                f"{self._deaths_in_a_row} workers died one after another and none finished a chunk"
                f" ({news.reason}); use fewer workers if memory is short"
            )
        if self._false_starts[member.slot] < self.max_attempts:
            crew.hire(member.slot)
        elif crew.members:
            note("worker given up", slot=member.slot, reason=news.reason)
        else:
            raise WorkerFailed(
                f"no worker survives its start ({news.reason}); use fewer workers if memory is"
                " short"
            )

    def _rescue(self, crew: Crew) -> None:
        """Writes what has arrived and is not written yet."""
        for news in (*self._news, *crew.wait(0)):
            if isinstance(news, Measured) and not news.reply.error:
                rows = self._rows(news.chunk)
                # The interruption may have come between the commit and the next statement.
                if self.campaign.missing(rows, retry_failed=True).any():
                    self.campaign.record(
                        rows, news.reply.metrics, news.member.name, news.reply.seconds
                    )

    def _rows(self, chunk: Chunk) -> Bool[np.ndarray, "B n"]:
        return self.backlog.coalitions[chunk.start : chunk.stop]

    def _report(self, crew: Crew) -> None:
        if self.progress is None:
            return
        left = None
        if self._ready_at is not None and self._cost_done:
            elapsed = time.perf_counter() - self._ready_at
            left = elapsed * max(self._cost_total / self._cost_done - 1.0, 0.0)
        self.progress(
            Progress(
                done=self.skipped + self.measured + self.failed,
                total=self.skipped + len(self.backlog.coalitions),
                rate=self.rate,
                seconds_left=0.0 if self.backlog.finished else left,
                non_finite=self.non_finite,
                failed=self.failed,
                workers=len(crew.ready),
            )
        )
