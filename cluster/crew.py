"""A crew of Ray actors: hiring, handing out chunks, and hearing what became of them."""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Bool

from cluster.actors import Factory, Hello, Reply, Worker
from cluster.backlog import Chunk
from cluster.errors import WorkerFailed

__all__ = ["Arrived", "Crew", "Died", "Measured", "Member"]

# Weights and logits live in blocks far above the default threshold, which glibc maps and unmaps
# for each tensor: a fifth of a worker's time then goes into page faults.
MALLOC_THRESHOLD = str(1 << 32)


@dataclass(eq=False)
class Member:
    """One actor.

    Attributes:
        slot: its place in the crew; a successor gets the same one.
        handle: Ray's handle.
        name: ``host:pid`` once it has said hello, else empty.
        flights: what it was asked, oldest first; it answers in this order. No chunk: its hello.
    """

    slot: int
    handle: Any
    name: str = ""
    flights: deque[tuple[Any, Chunk | None]] = field(default_factory=deque)


@dataclass(frozen=True, eq=False)
class Arrived:
    """A member has built its evaluator, or failed to."""

    member: Member
    hello: Hello


@dataclass(frozen=True, eq=False)
class Measured:
    """A member has answered for a chunk."""

    member: Member
    chunk: Chunk
    reply: Reply


@dataclass(frozen=True, eq=False)
class Died:
    """A member is gone.

    Attributes:
        member: who; it is no longer in the crew.
        running: the chunk it died of, or nothing if it died before its hello.
        queued: chunks that it never started.
        reason: what Ray says, in one line.
    """

    member: Member
    running: Chunk | None
    queued: tuple[Chunk, ...]
    reason: str


class Crew:
    """Actors that each hold one replica. Leaving the context ends them all.

    Ray restarts and retries nothing by itself: a chunk that kills its worker must come back to
    whoever decides about it.

    Args:
        factory: builds the evaluator inside the actor.
        workers: how many actors.
        cpus_per_worker: CPUs that Ray sets aside for each, and threads that it computes with.
        gpus_per_worker: GPUs for each; parts of one are allowed.

    Raises:
        ValueError: if Ray is not connected, no node of the cluster has room for a worker, or the
            factory cannot be sent.
    """

    def __init__(
        self, factory: Factory, *, workers: int, cpus_per_worker: float, gpus_per_worker: float
    ) -> None:
        import ray
        from ray import cloudpickle, exceptions

        if not ray.is_initialized():
            raise ValueError("Ray is not connected; measure inside `with cluster.connect(...):`")
        _check_room(cpus_per_worker, gpus_per_worker)
        try:
            self._packed = cloudpickle.dumps(factory)  # pyright: ignore[reportPrivateImportUsage]
        except Exception as error:
            raise ValueError(
                f"factory cannot be sent to the workers ({' '.join(str(error).split())}); build"
                " models, files and connections inside it"
            ) from error
        self._ray: Any = ray
        self._errors = exceptions
        self._actor = ray.remote(Worker).options(
            num_cpus=cpus_per_worker,
            num_gpus=gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": _environment(cpus_per_worker)},
        )
        self.members: list[Member] = []
        for slot in range(workers):
            self.hire(slot)

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
    def ready(self) -> list[Member]:
        """Those who have said hello."""
        return [member for member in self.members if member.name]

    def hire(self, slot: int) -> None:
        """Starts an actor; it gets work once it has said hello, so that no chunk waits for it."""
        member = Member(slot, self._actor.remote(self._packed))
        member.flights.append((member.handle.hello.remote(), None))
        self.members.append(member)

    def assign(self, member: Member, chunk: Chunk, rows: Bool[np.ndarray, "B n"]) -> None:
        """Asks a member to measure a chunk after those that it has already."""
        member.flights.append((member.handle.measure.remote(rows), chunk))

    def wait(self, seconds: float) -> list[Arrived | Measured | Died]:
        """Waits until there is news, at most so long, and returns all of it."""
        refs = [ref for member in self.members for ref, _ in member.flights]
        if not refs:
            return []
        self._ray.wait(refs, num_returns=1, timeout=seconds)
        landed = set(self._ray.wait(refs, num_returns=len(refs), timeout=0)[0])
        news: list[Arrived | Measured | Died] = []
        for member in tuple(self.members):
            while member.flights and member.flights[0][0] in landed:
                news.append(self._hear(member))
        return news

    def _hear(self, member: Member) -> Arrived | Measured | Died:
        ref, chunk = member.flights.popleft()
        try:
            answer = self._ray.get(ref)
        except self._errors.RayTaskError as error:
            # The worker turns every exception of the evaluator into a reply, so this one comes
            # from before the worker's own code, such as a node without the package.
            raise WorkerFailed(f"a worker cannot run: {_last_line(error)}") from error
        except self._errors.RayError as error:
            queued = tuple(later for _, later in member.flights if later is not None)
            self._dismiss(member)
            return Died(member, chunk, queued, f"{type(error).__name__}: {_last_line(error)}")
        if chunk is None:
            member.name = f"{answer.host}:{answer.pid}"
            return Arrived(member, answer)
        return Measured(member, chunk, answer)

    def _dismiss(self, member: Member) -> None:
        self.members.remove(member)
        member.flights.clear()
        # Ends one that Ray only lost sight of, too: nobody may measure unheard.
        self._ray.kill(member.handle, no_restart=True)


def _check_room(cpus: float, gpus: float) -> None:
    import ray

    nodes = [node.get("Resources", {}) for node in ray.nodes() if node.get("Alive")]
    if any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in nodes):
        return
    offers = ", ".join(f"{node.get('CPU', 0):g} CPU {node.get('GPU', 0):g} GPU" for node in nodes)
    raise ValueError(
        f"a worker needs {cpus:g} CPU and {gpus:g} GPU, the nodes of the cluster have"
        f" {offers or 'nothing'}; lower cpus_per_worker or gpus_per_worker"
    )


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
