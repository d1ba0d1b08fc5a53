"""A pool of Ray actors: hiring, handing out chunks, and hearing what became of them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Bool

from cluster.errors import WorkerFailed
from cluster.scheduler.capacity import Node, alive_nodes, capacity, check_capacity
from cluster.scheduler.events import (
    Arrived,
    Cause,
    Died,
    Measured,
    NodeGone,
    WorkerEvent,
    WorkerHandle,
)
from cluster.scheduler.queue import Chunk
from cluster.scheduler.worker import Factory, Worker

__all__ = ["WorkerPool"]

# Weights and logits live in blocks far above the default threshold, which glibc maps and unmaps
# for each tensor: a fifth of a worker's time then goes into page faults.
MALLOC_THRESHOLD = str(1 << 32)
LOOK_SECONDS = 2.0  # between two looks at the nodes of the cluster
GATHER_SECONDS = 0.02  # how long a large pool's replies are collected before they are written
LARGE = 16  # members from which that pays; each has a second chunk to go on with meanwhile


class WorkerPool:
    """Actors that each hold one replica. Leaving the context ends them all.

    Ray restarts and retries nothing by itself: a chunk that kills its worker must come back to
    whoever decides about it.

    Args:
        factory: builds the evaluator inside the actor.
        workers: how many actors; those for which there is no room yet wait for it. None: as many
            as the nodes have room for, which changes when nodes come and go.
        cpus_per_worker: CPUs that Ray sets aside for each, and threads that it computes with.
        gpus_per_worker: GPUs for each; parts of one are allowed.

    Raises:
        ValueError: if Ray is not connected, no node of the cluster has room for a worker, or the
            factory cannot be sent.
    """

    def __init__(
        self,
        factory: Factory,
        *,
        workers: int | None = None,
        cpus_per_worker: float = 1,
        gpus_per_worker: float = 0.0,
    ) -> None:
        import ray
        from ray import cloudpickle, exceptions

        if not ray.is_initialized():
            raise ValueError("Ray is not connected; measure inside `with cluster.connect(...):`")
        check_capacity(cpus_per_worker, gpus_per_worker)
        try:
            self._packed = cloudpickle.dumps(factory)  # pyright: ignore[reportPrivateImportUsage]
        except Exception as error:
            raise ValueError(
                f"factory cannot be sent to the workers ({' '.join(str(error).split())}); build"
                " models, files and connections inside it"
            ) from error
        self._ray: Any = ray
        self._errors = exceptions
        self._share = (cpus_per_worker, gpus_per_worker)
        self._actor = ray.remote(Worker).options(
            num_cpus=cpus_per_worker,
            num_gpus=gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": _environment(cpus_per_worker)},
        )
        self._workers = workers
        self._closed: set[int] = set()
        self._nodes = alive_nodes()
        self._used: dict[str, Node] = {}  # nodes that hold or held members
        self._looked_at = time.monotonic()
        self.hired = 0
        self.members: list[WorkerHandle] = []
        self.fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all actors."""
        for member in tuple(self.members):
            self._dismiss(member)

    @property
    def ready(self) -> list[WorkerHandle]:
        """Those who have said hello."""
        return [member for member in self.members if member.name]

    @property
    def size(self) -> int:
        """How many members there should be."""
        wanted = self._workers
        if wanted is None:
            wanted = capacity(self._nodes.values(), *self._share)
        return max(wanted - len(self._closed), 0)

    def alive(self, node: str) -> bool:
        """Tells whether a node was there at the last look."""
        return node in self._nodes

    def fill(self) -> None:
        """Hires for empty places; a new member gets work once it has said hello."""
        if self._workers is None:
            # Without room those not started yet would wait for ever; others end by themselves.
            waiting = [member for member in self.members if not member.name]
            for member in waiting[: max(len(self.members) - self.size, 0)]:
                self._dismiss(member)
        taken = self._closed | {member.slot for member in self.members}
        slot = 0
        while len(self.members) < self.size:
            while slot in taken:
                slot += 1
            taken.add(slot)
            member = WorkerHandle(slot, self.start_actor(slot))
            member.flights.append((member.handle.hello.remote(), None))
            self.members.append(member)
            self.hired += 1

    def give_up(self, slot: int) -> None:
        """Leaves a place empty from now on."""
        self._closed.add(slot)

    def start_actor(self, slot: int) -> Any:
        """Starts the actor of one place and returns its handle, without waiting for it."""
        return self._actor.remote(self._packed)

    def end_actor(self, handle: Any) -> None:
        """Ends an actor, also one that Ray only lost sight of: nobody may measure unheard."""
        self._ray.kill(handle, no_restart=True)

    def assign(self, member: WorkerHandle, chunk: Chunk, rows: Bool[np.ndarray, "B n"]) -> None:
        """Asks a member to measure a chunk after those that it has already.

        Args:
            member: a worker that is ready.
            chunk: which rows these are.
            rows: the coalitions of the chunk, True = kept.
        """
        member.flights.append((member.handle.measure.remote(rows), chunk))

    def wait(self, seconds: float) -> list[WorkerEvent]:
        """Waits until there is news, at most so long, and returns all of it."""
        # A member answers in order, so only the oldest question of each can be answered next.
        refs = [member.flights[0][0] for member in self.members if member.flights]
        news: list[WorkerEvent] = []
        if refs:
            first, _ = self._ray.wait(refs, num_returns=1, timeout=seconds)
            if first and len(refs) >= LARGE and seconds:
                time.sleep(GATHER_SECONDS)
            landed = set(self._ray.wait(refs, num_returns=len(refs), timeout=0)[0])
            for member in tuple(self.members):
                if member.flights and member.flights[0][0] in landed:
                    news.extend(self._hear(member))
        elif seconds:
            time.sleep(min(seconds, LOOK_SECONDS / 4))
        if seconds and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            news.extend(self.look())
        return news

    def look(self) -> list[WorkerEvent]:
        """Looks at the nodes of the cluster and ends members of those that are gone.

        Places that came free are not filled: a death may still wait to be heard of, and what it
        means for its place is decided then.
        """
        self._looked_at = time.monotonic()
        self._nodes = alive_nodes()
        news: list[WorkerEvent] = []
        for name in [name for name in self._used if name not in self._nodes]:
            news.append(NodeGone(self._used.pop(name)))
            for member in [member for member in self.members if member.node == name]:
                news.extend(self._bury(member, "node", "its node has left the cluster"))
        return news

    def _hear(self, member: WorkerHandle) -> Iterator[WorkerEvent]:
        ref, chunk = member.flights[0]
        try:
            answer = self._ray.get(ref)
        except self._errors.RayTaskError as error:
            # The worker turns every exception of the evaluator into a reply, so this one comes
            # from before the worker's own code, such as a node without the package.
            raise WorkerFailed(f"a worker cannot run: {_last_line(error)}") from error
        except self._errors.RayError as error:
            reason = f"{type(error).__name__}: {_last_line(error)}"
            yield from self._bury(member, _cause(error), reason)
            return
        member.flights.popleft()
        if chunk is not None:
            yield Measured(member, chunk, answer)
            return
        member.name = f"{answer.host}:{answer.pid}"
        member.node = answer.node
        member.ready_at = time.perf_counter()
        if node := self._nodes.get(answer.node):
            self._used[answer.node] = node
        else:
            self._used[answer.node] = Node(answer.node, answer.host, *self._share)
        yield Arrived(member, answer)

    def _bury(self, member: WorkerHandle, cause: Cause, reason: str) -> Iterator[WorkerEvent]:
        """Takes a dead member out of the pool; what it had answered in time still counts."""
        lost: list[Chunk] = []
        for ref, chunk in member.flights:
            if chunk is None:
                continue
            try:
                yield Measured(member, chunk, self._ray.get(ref, timeout=0))
            except self._errors.RayError:
                lost.append(chunk)
        idle = not lost
        self._dismiss(member)
        yield Died(member, None if idle else lost[0], tuple(lost[1:]), cause, reason)

    def _dismiss(self, member: WorkerHandle) -> None:
        self.members.remove(member)
        member.flights.clear()
        self.end_actor(member.handle)


def _cause(error: Exception) -> Cause:
    """Returns what ended an actor, as far as Ray knows."""
    from ray import exceptions

    words = str(error)
    if isinstance(error, exceptions.ActorDiedError):
        gone = error.preempted or "node has died" in words or "node was terminated" in words
        if gone:
            return "node"
        return "outside" if "ray.kill" in words else "process"
    if isinstance(error, exceptions.ActorUnavailableError):
        return "outside"
    # A result that lay in the memory of a machine goes with it.
    lost = (exceptions.ObjectLostError, exceptions.NodeDiedError)
    return "node" if isinstance(error, lost) else "process"


def _environment(cpus: float) -> dict[str, str]:
    """Returns the environment of an actor: its threads, its allocator, the driver's imports."""
    installed = tuple({os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix)})
    own = [os.path.abspath(entry) for entry in sys.path if not entry.endswith(".zip")]
    own = [entry for entry in own if not os.path.realpath(entry).startswith(installed)]
    return {
        "OMP_NUM_THREADS": str(max(1, int(cpus))),
        "MALLOC_MMAP_THRESHOLD_": MALLOC_THRESHOLD,
        "MALLOC_TRIM_THRESHOLD_": MALLOC_THRESHOLD,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(own)),
    }


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
