"""What runs inside a Ray actor: one replica of the evaluator, built once."""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32

__all__ = ["Evaluator", "Factory", "Fault", "Hello", "Reply", "Worker"]

# What an exception means for the run: the caller's input, too little memory, or anything else.
Fault = Literal["input", "memory", "other"]
MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


@runtime_checkable
class Evaluator(Protocol):
    """Measures coalitions on one device."""

    def measure(
        self, coalitions: Bool[np.ndarray, "B n"]
    ) -> Mapping[str, Float32[np.ndarray, "B W"]]:
        """Returns every column of the campaign by name: one row a coalition.

        Values may be NaN or infinite. A ValueError says that the input cannot be measured; one
        about memory makes the caller come back with fewer coalitions.
        """
        ...


Factory = Callable[[], Evaluator]


@dataclass(frozen=True)
class Hello:
    """A worker's first word.

    Attributes:
        host: name of its machine.
        pid: its process.
        node: Ray's identifier of its machine.
        seconds: how long the factory took.
        error: what went wrong in the factory, in one line; empty if nothing did.
        fault: what kind of error it was.
        trace: the traceback that belongs to ``error``.
    """

    host: str
    pid: int
    node: str
    seconds: float
    error: str = ""
    fault: Fault = "other"
    trace: str = ""


@dataclass(frozen=True, eq=False)
class Reply:
    """A worker's answer to one chunk.

    Attributes:
        metrics: by name, one row a coalition; empty if there was an error.
        seconds: how long the evaluator took.
        error: the exception it raised, in one line; empty if it raised none.
        fault: what kind of error it was.
        trace: the traceback that belongs to ``error``.
    """

    metrics: Mapping[str, Float32[np.ndarray, "B W"]]
    seconds: float
    error: str = ""
    fault: Fault = "other"
    trace: str = ""


class Worker:
    """The actor. Errors travel back as text, because not every exception survives the journey.

    Args:
        packed: the factory, as Ray's own transport packs functions.
    """

    def __init__(self, packed: bytes) -> None:
        from ray import cloudpickle, get_runtime_context

        began = time.perf_counter()
        error, fault, trace = "", "other", ""
        try:
            self._evaluator: Evaluator = cloudpickle.loads(packed)()
        except Exception as problem:
            error, fault, trace = _words(problem), _fault(problem), traceback.format_exc()
        node = get_runtime_context().get_node_id()
        seconds = time.perf_counter() - began
        self._hello = Hello(socket.gethostname(), os.getpid(), node, seconds, error, fault, trace)

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
            error, fault, trace = _words(problem), _fault(problem), traceback.format_exc()
        else:
            return Reply(metrics, time.perf_counter() - began)
        if fault == "memory":
            _give_memory_back()
        return Reply({}, time.perf_counter() - began, error, fault, trace)


def _words(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())}"


def _fault(problem: Exception) -> Fault:
    """Returns what an exception means; libraries name the lack of memory in many ways."""
    names = " ".join(kind.__name__ for kind in type(problem).__mro__)
    words = str(problem).lower()
    if "OutOfMemory" in names or isinstance(problem, MemoryError):
        return "memory"
    if isinstance(problem, RuntimeError) and any(part in words for part in MEMORY_WORDS):
        return "memory"
    return "input" if isinstance(problem, ValueError) else "other"


def _give_memory_back() -> None:
    """Frees what a failed chunk left behind, also on the device."""
    gc.collect()
    if (torch := sys.modules.get("torch")) and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
