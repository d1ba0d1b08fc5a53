"""Who gets how much next: every worker by its speed, and nobody what others finish sooner."""

from __future__ import annotations

from cluster.scheduler.events import Member
from cluster.scheduler.pool import Crew
from cluster.scheduler.queue import LEAST_SECONDS, Backlog

__all__ = ["hand_out"]

# The driver spends about half of this on one chunk: with so much work for each worker in a chunk
# it is never what a large crew waits for.
HANDLING_SECONDS = 0.003


def hand_out(backlog: Backlog, crew: Crew) -> None:
    """Gives every worker a chunk, then a second one to go on with while its result travels.

    Workers of unknown speed count as average ones.

    Args:
        backlog: what is to be measured.
        crew: who measures.
    """
    ready = crew.ready
    rates = [member.pace.rate for member in ready]
    known = [rate for rate in rates if rate is not None]
    mean = sum(known) / len(known) if known else 1.0
    total = mean * len(ready)
    least = max(LEAST_SECONDS, HANDLING_SECONDS * len(ready))
    for depth in (0, 1):
        for member, rate in zip(ready, rates, strict=True):
            # Near the end a second chunk would only wait behind a busy worker.
            if not backlog.waiting or (depth and backlog.waiting <= len(ready)):
                return
            if len(member.flights) != depth:
                continue
            if rate is not None and _too_slow(backlog, member, rate, total, max(known)):
                continue
            share = min((mean if rate is None else rate) / total, 1.0)
            if chunk := backlog.take(member.pace, share, least):
                crew.assign(member, chunk, backlog.coalitions[chunk.start : chunk.stop])


def _too_slow(backlog: Backlog, member: Member, rate: float, total: float, fastest: float) -> bool:
    """Tells whether the others will have measured everything before this one measures more."""
    left = max(backlog.cost_total - backlog.cost_done, 0.0)
    one = left / max(backlog.open, 1)
    queue = sum(
        backlog.costs.of_run(chunk.start, chunk.stop) for _, chunk in member.flights if chunk
    )
    return (queue + one) / rate > left / total + one / fastest + 1e-9
