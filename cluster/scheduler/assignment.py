"""Who gets how much next: every worker by its speed, and nobody what others finish sooner."""

from __future__ import annotations

from cluster.scheduler.events import WorkerHandle
from cluster.scheduler.pool import WorkerPool
from cluster.scheduler.queue import LEAST_SECONDS, WorkQueue

__all__ = ["assign"]

# The driver spends about half of this on one chunk: with so much work for each worker in a chunk
# it is never what a large pool waits for.
HANDLING_SECONDS = 0.003


def assign(queue: WorkQueue, pool: WorkerPool) -> None:
    """Gives every worker a chunk, then a second one to go on with while its result travels.

    Workers of unknown speed count as average ones.

    Args:
        queue: what is to be measured.
        pool: who measures.
    """
    ready = pool.ready
    rates = [member.pace.rate for member in ready]
    known = [rate for rate in rates if rate is not None]
    mean = sum(known) / len(known) if known else 1.0
    total = mean * len(ready)
    least = max(LEAST_SECONDS, HANDLING_SECONDS * len(ready))
    for depth in (0, 1):
        for member, rate in zip(ready, rates, strict=True):
            # Near the end a second chunk would only wait behind a busy worker.
            if not queue.waiting or (depth and queue.waiting <= len(ready)):
                return
            if len(member.flights) != depth:
                continue
            if rate is not None and _too_slow(queue, member, rate, total, max(known)):
                continue
            share = min((mean if rate is None else rate) / total, 1.0)
            if chunk := queue.take(member.pace, share, least):
                pool.assign(member, chunk, queue.coalitions[chunk.start : chunk.stop])


def _too_slow(
    queue: WorkQueue, member: WorkerHandle, rate: float, total: float, fastest: float
) -> bool:
    """Tells whether the others will have measured everything before this one measures more."""
    left = max(queue.cost_total - queue.cost_done, 0.0)
    one = left / max(queue.open, 1)
    own = sum(queue.costs.of_run(chunk.start, chunk.stop) for _, chunk in member.flights if chunk)
    return (own + one) / rate > left / total + one / fastest + 1e-9
