"""What runs inside a Ray actor: one replica of the evaluator, built once."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32

__all__ = ["Evaluator", "Factory", "Hello", "Reply", "Worker"]


@runtime_checkable
class Evaluator(Protocol):
    """Measures coalitions on one device."""

    def measure(
        self, coalitions: Bool[np.ndarray, "B n"]
    ) -> Mapping[str, Float32[np.ndarray, "B S"]]:
        """Returns ``"nll"`` and, if known, ``"kl"`` and ``"top1"``: one row a coalition.

        Values are by sequence, in nats a token, and may be NaN or infinite.
        """
        ...


Factory = Callable[[], Evaluator]


@dataclass(frozen=True)
class Hello:
    """A worker's first word.

    Attributes:
        host: name of its machine.
        pid: its process.
        seconds: how long the factory took.
        error: what went wrong in the factory, in one line; empty if nothing did.
        trace: the traceback that belongs to ``error``.
    """

    host: str
    pid: int
    seconds: float
    error: str = ""
    trace: str = ""


@dataclass(frozen=True, eq=False)
class Reply:
    """A worker's answer to one chunk.

    Attributes:
        metrics: by name, one row a coalition; empty if there was an error.
        seconds: how long the evaluator took.
        error: the exception it raised, in one line; empty if it raised none.
        trace: the traceback that belongs to ``error``.
    """

    metrics: Mapping[str, Float32[np.ndarray, "B S"]]
    seconds: float
    error: str = ""
    trace: str = ""


class Worker:
    """The actor. Errors travel back as text, because not every exception survives the journey.

    Args:
        packed: the factory, as Ray's own transport packs functions.
    """

    def __init__(self, packed: bytes) -> None:
        began = time.perf_counter()
        error = trace = ""
        try:
            from ray import cloudpickle

            self._evaluator: Evaluator = cloudpickle.loads(packed)()
        except Exception as problem:
            error, trace = _words(problem), traceback.format_exc()
        self._hello = Hello(
            socket.gethostname(), os.getpid(), time.perf_counter() - began, error, trace
        )

    def hello(self) -> Hello:
        """Returns who this is, once the evaluator is built."""
        return self._hello

    def measure(self, coalitions: Bool[np.ndarray, "B n"]) -> Reply:
        """Measures one chunk."""
        began = time.perf_counter()
        try:
            # Ray hands out read-only memory; an evaluator may want to sort in place.
            metrics = dict(self._evaluator.measure(np.array(coalitions)))
        except Exception as problem:
            return Reply({}, time.perf_counter() - began, _words(problem), traceback.format_exc())
        return Reply(metrics, time.perf_counter() - began)


def _words(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())}"
