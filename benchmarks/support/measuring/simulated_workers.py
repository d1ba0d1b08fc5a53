"""A real pool of many members that share a few processes, and an evaluator that sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from cluster import Evaluator, WorkerPool
from cluster.scheduler.worker import Hello, Reply, Worker

__all__ = ["TOKENS", "Hall", "SeatedCrew", "Sleeper"]

TOKENS = (255, 255, 255, 255)


@dataclass(frozen=True)
class Sleeper:
    """Takes a fixed time a coalition; the values are functions of the coalition.

    Attributes:
        seconds_each: time a coalition, spent asleep.
    """

    seconds_each: float

    def __call__(self) -> Evaluator:
        """Builds the evaluator: it needs nothing else."""
        return self

    def measure(self, coalitions: Bool[np.ndarray, "B n"]) -> dict[str, np.ndarray]:
        """Returns three columns of four numbers a coalition."""
        time.sleep(self.seconds_each * len(coalitions))
        lost = (~coalitions).sum(axis=1, dtype=np.float32)
        values = np.repeat(lost[:, None], len(TOKENS), axis=1) / 8
        return {"nll": values, "kl": values / 2, "top1": 1 - values / 64}


class Hall:
    """One actor process that holds many seats, each a worker of its own.

    Args:
        packed: the factory, as the pool packs it.
    """

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._workers: dict[int, tuple[Worker, threading.Lock]] = {}

    def hello(self, slot: int) -> Hello:
        """Builds the worker of one seat."""
        worker = Worker(self._packed)
        self._workers[slot] = (worker, threading.Lock())
        return worker.hello()

    def measure(self, slot: int, rows: Bool[np.ndarray, "B n"]) -> Reply:
        """Measures on one seat, one chunk after the other."""
        worker, turn = self._workers[slot]
        with turn:
            return worker.measure(rows)


@dataclass(frozen=True)
class Call:
    """A method of one seat, called as a method of an actor is."""

    method: Any
    slot: int

    def remote(self, *arguments: Any) -> Any:
        """Starts the call and returns its reference."""
        return self.method.remote(self.slot, *arguments)


class Seat:
    """One seat in a hall, in the shape of an actor handle.

    Args:
        hall: handle of the actor.
        slot: which seat.
    """

    def __init__(self, hall: Any, slot: int) -> None:
        self.hello = Call(hall.hello, slot)
        self.measure = Call(hall.measure, slot)


class SeatedCrew(WorkerPool):
    """A pool whose members share a few processes.

    Args:
        halls: handles of the actors.
        factory: builds the evaluator of each member.
        workers: how many members.
    """

    def __init__(self, halls: list[Any], factory: Callable[[], Evaluator], workers: int) -> None:
        self._halls = halls
        super().__init__(factory, workers=workers)

    def start_actor(self, slot: int) -> Any:
        """Takes a seat."""
        return Seat(self._halls[slot % len(self._halls)], slot)

    def end_actor(self, handle: Any) -> None:
        """Leaves it; the process ends with the benchmark."""
