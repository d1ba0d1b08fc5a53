"""Members of a pool, and what is heard of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from cluster.scheduler.capacity import Node
from cluster.scheduler.queue import Chunk, Pace
from cluster.scheduler.worker import Hello, Reply

__all__ = ["Arrived", "Cause", "Died", "Measured", "NodeGone", "WorkerEvent", "WorkerHandle"]

# Its process ended, or its machine did, or it was ended or cut off from outside: only the first can
# be the fault of what it measured.
Cause = Literal["process", "node", "outside"]


@dataclass(eq=False)
class WorkerHandle:
    """One actor.

    Attributes:
        slot: its place in the pool; a successor gets the same one.
        handle: Ray's handle.
        name: ``host:pid`` once it has said hello, else empty.
        node: Ray's identifier of its machine, once it has said hello.
        ready_at: when it said hello, by ``time.perf_counter``.
        pace: how fast it is.
        flights: what it was asked, oldest first; it answers in this order. No chunk: its hello.
    """

    slot: int
    handle: Any
    name: str = ""
    node: str = ""
    ready_at: float = 0.0
    pace: Pace = field(default_factory=Pace)
    flights: deque[tuple[Any, Chunk | None]] = field(default_factory=deque)


@dataclass(frozen=True, eq=False)
class Arrived:
    """A member has built its evaluator, or failed to."""

    member: WorkerHandle
    hello: Hello


@dataclass(frozen=True, eq=False)
class Measured:
    """A member has answered for a chunk."""

    member: WorkerHandle
    chunk: Chunk
    reply: Reply


@dataclass(frozen=True, eq=False)
class Died:
    """A member is gone.

    Attributes:
        member: who; it is no longer in the pool.
        running: the chunk it was at, or nothing if it was idle or died before its hello.
        queued: chunks that it never started.
        cause: what ended it.
        reason: what Ray says, in one line.
    """

    member: WorkerHandle
    running: Chunk | None
    queued: tuple[Chunk, ...]
    cause: Cause
    reason: str


@dataclass(frozen=True, eq=False)
class NodeGone:
    """A machine that held members has left the cluster."""

    node: Node


WorkerEvent = Arrived | Measured | Died | NodeGone
