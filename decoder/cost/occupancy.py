"""Memory that a model takes while it reads a prompt and decodes: weights, cache, and its peak.

Weights and cache are counted from the tensors themselves. What comes and goes beside them is
measured from what torch's allocator reports, so that it says the same on any machine: on a GPU its
own peak, on a CPU the peak of the tensors alive, from a profile of every allocation. Resident
memory would count the libraries and what the allocator keeps for later.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from decoder.cost.decoding import decode, prefill

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Occupancy", "cache_bytes", "measure_occupancy", "tensor_bytes", "weights"]


@dataclass(frozen=True)
class Occupancy:
    """What one model takes for one sequence.

    Attributes:
        parameters: their number; tied ones count once.
        parameter_bytes: of the parameters.
        weight_bytes: of parameters and buffers.
        cache_bytes: keys, values and states kept after prompt and new tokens.
        cache_bytes_per_token: by how much they grow with a token, at that length.
        working_bytes: the most that was allocated at one time beside the weights, cache included;
            None on devices other than CPU and CUDA.
    """

    parameters: int
    parameter_bytes: int
    weight_bytes: int
    cache_bytes: int
    cache_bytes_per_token: float
    working_bytes: int | None

    @property
    def peak_bytes(self) -> int | None:
        """Weights and the most that came on top of them."""
        return None if self.working_bytes is None else self.weight_bytes + self.working_bytes


def measure_occupancy(model: PreTrainedModel, prompt_1T: Tensor, new_tokens: int) -> Occupancy:
    """Count and measure a model as it is now.

    Call it after a first pass: what libraries allocate once for all is not the model's.

    Args:
        model: the model.
        prompt_1T: one sequence.
        new_tokens: tokens decoded after it.
    """
    parameters, buffers = weights(model), _distinct(model.buffers())
    sizes: list[int] = []

    def work() -> None:
        out = prefill(model, prompt_1T)
        sizes.append(cache_bytes(out.past_key_values))
        sizes.append(cache_bytes(decode(model, out, new_tokens).past_key_values))

    working = _peak(work, model.device)
    return Occupancy(
        parameters=sum(p.numel() for p in parameters),
        parameter_bytes=sum(tensor_bytes(p) for p in parameters),
        weight_bytes=sum(tensor_bytes(t) for t in (*parameters, *buffers)),
        cache_bytes=sizes[1],
        cache_bytes_per_token=(sizes[1] - sizes[0]) / new_tokens,
        working_bytes=working,
    )


def weights(module: nn.Module) -> list[Tensor]:
    """The module's parameters, tied ones once."""
    return _distinct(module.parameters())


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's numbers."""
    return tensor.numel() * tensor.element_size()


def cache_bytes(cache: Any) -> int:
    """Bytes of all distinct tensors in a cache of any class, or in a part of one.

    Single numbers, with which a cache keeps count of itself, are left out.
    """
    return sum(tensor_bytes(t) for t in _distinct(_tensors(cache, set())) if t.ndim)


def _tensors(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Every tensor that can be reached through lists, dictionaries and attributes."""
    if isinstance(value, Tensor):
        yield value
    elif id(value) not in seen and not isinstance(value, str | bytes | type | nn.Module):
        seen.add(id(value))
        inside: Any = ()
        if isinstance(value, list | tuple | set | frozenset):
            inside = value
        elif isinstance(value, dict):
            inside = value.values()
        elif type(value).__module__.split(".")[0] not in {"builtins", "torch"}:
            inside = getattr(value, "__dict__", {}).values()
        for part in inside:
            yield from _tensors(part, seen)


def _distinct(tensors: Any) -> list[Tensor]:
    return list({id(tensor): tensor for tensor in tensors}.values())


def _peak(work: Callable[[], None], device: torch.device) -> int | None:
    """The most bytes allocated at one time while `work` runs, above those before it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type == "cpu":
        return _cpu_peak(work)
    work()
    return None


def _cpu_peak(work: Callable[[], None]) -> int:
    profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with _silent_start():
        profiler.start()
    try:
        work()
    finally:
        with _silent_start():
            profiler.stop()
    found: Any = profiler.profiler.kineto_results.events()  # type: ignore[union-attr]
    changes = [(e.start_ns(), e.nbytes()) for e in found if e.name() == "[memory]"]
    alive = peak = 0
    for _, change in sorted(changes, key=lambda pair: pair[0]):
        alive += change
        peak = max(peak, alive)
    return peak


@contextmanager
def _silent_start() -> Iterator[None]:
    """Within it the process' standard error goes nowhere.

    Some builds of the profiler write a line there whenever it starts or stops, whatever the level
    of its log.
    """
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    try:
        real, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # no standard error to spare
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(real, 2)
        os.close(real)
        os.close(nowhere)
