"""The driver: what is missing goes to the pool, and a summary comes back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

import sampling
from cluster.ledger.campaign import Campaign
from cluster.scheduler.policy import Policy
from cluster.scheduler.pool import WorkerPool
from cluster.scheduler.queue import WorkQueue
from cluster.scheduler.run import Run
from cluster.scheduler.summary import Progress, Summary
from cluster.scheduler.worker import Factory

__all__ = ["measure"]

DEFAULT = Policy()
SLICE = 65_536  # rows whose status is asked for in one go


def measure(
    campaign: Campaign,
    evaluators: Factory | WorkerPool,
    coalitions: Bool[np.ndarray, "B n"],
    *,
    workers: int | None = 1,
    progress: Callable[[Progress], None] | None = None,
    player_costs: Float[np.ndarray, "n"] | Sequence[float] | None = None,
    head_cost: float = 2.0,
    order: Literal["shared", "given"] = "shared",
    policy: Policy = DEFAULT,
) -> Summary:
    """Measures those of the coalitions that the ledger lacks, on Ray actors.

    Every result is written as it arrives. A chunk whose worker dies is cut in two and handed out
    again; a coalition that alone kills as many workers as the policy allows is quarantined with
    the status ``"failed"``, and the others complete. Deaths of whole machines count against
    nobody. A run that was stopped, in whatever way, goes on where it was when it is started again.

    Args:
        campaign: of a ledger opened for writing.
        evaluators: builds an evaluator, called once inside each actor that this call starts; or a
            pool that is at work already and stays so, for callers that measure in small steps.
        coalitions: rows, True = kept; repeated rows count once.
        workers: number of actors, where they are started here with one CPU each (a pool gives
            them more, or GPUs); None for as many as the cluster has room for, those of nodes that
            join later included.
        progress: called at each result and at least about once a second.
        player_costs: relative duration of each player; nothing for equal ones.
        head_cost: duration of what every coalition needs (the model's head, protected parts), in
            the same unit.
        order: ``"shared"`` measures in the order that shares most work; ``"given"`` in the order
            of ``coalitions``, so that a stopped run holds the first of them.
        policy: length of chunks, attempts, and whether what was quarantined is tried again.

    Returns:
        what was measured, what was already there, and what went wrong.

    Raises:
        WorkerRefused: if the factory or the evaluator raises a ValueError.
        WorkerFailed: if they raise another error, or workers keep dying. What was measured before
            is in the ledger.
        LedgerError: if the ledger cannot be written.
        ValueError: if Ray is not connected or has no room for a worker.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}; give a positive number")
    if order not in ("shared", "given"):
        raise ValueError(f"order must be 'shared' or 'given', got {order!r}; choose one of them")
    began = time.perf_counter()
    todo, known = _todo(campaign, coalitions, policy.retry_failed)
    if order == "shared":
        todo = todo[sampling.lexicographic_order(todo)]
    run = Run(
        campaign,
        WorkQueue(
            todo,
            player_costs=player_costs,
            head_cost=head_cost,
            chunk_seconds=policy.chunk_seconds,
            max_attempts=policy.max_attempts,
        ),
        skipped=known.total(),
        max_attempts=policy.max_attempts,
        progress=progress,
    )
    if len(todo):
        lent = (
            nullcontext(evaluators)
            if isinstance(evaluators, WorkerPool)
            else WorkerPool(evaluators, workers=workers)
        )
        with lent as pool:
            log_event = campaign.ledger.log_event
            log_event("run started", campaign=campaign.name, missing=len(todo), workers=pool.size)
            run.until_finished(pool)
    summary = run.summary(
        seconds=time.perf_counter() - began,
        non_finite=known["non-finite"],
        failed=known["failed"],
    )
    if len(todo):
        campaign.ledger.log_event("run finished", campaign=campaign.name, **vars(summary))
    return summary


def _todo(
    campaign: Campaign, coalitions: Bool[np.ndarray, "B n"], retry_failed: bool
) -> tuple[Bool[np.ndarray, "M n"], Counter[str]]:
    """Returns the distinct coalitions that are missing, and how many others are known as what."""
    asked = sampling.distinct(coalitions)
    missing = np.zeros(len(asked), dtype=bool)
    known: Counter[str] = Counter()
    for start in range(0, len(asked), SLICE):
        statuses = campaign.statuses(asked[start : start + SLICE])
        if retry_failed:
            statuses = [None if status == "failed" else status for status in statuses]
        missing[start : start + SLICE] = [status is None for status in statuses]
        known.update(status for status in statuses if status is not None)
    return (asked if missing.all() else asked[missing]), known
