"""How much memory there is, how much is in use, and what a piece of work needs at its peak."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from decoder.checkpoint.host import free_memory

__all__ = ["default_bound", "is_out_of_memory", "peak_bytes", "return_freed_memory", "used_bytes"]

_SHARE_OF_FREE = {"cpu": 0.4, "cuda": 0.85}  # other workers of this machine want some, too
_M_MMAP_THRESHOLD, _LARGE_BLOCK = -3, 2**18  # of glibc's malloc.h; bytes
_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")


def used_bytes(device: torch.device) -> int:
    """Resident memory of this process, or what it has allocated on its GPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def default_bound(device: torch.device) -> int:
    """Most bytes to use where the user names none: what is in use and a share of what is free."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    else:
        free = free_memory()
    return used_bytes(device) + int(_SHARE_OF_FREE.get(device.type, 0.4) * free)


def return_freed_memory() -> None:
    """Have this process give large blocks back as soon as they are freed.

    Kept blocks are quicker to use again, but the holes between them count as resident memory: too
    much for a bound that is to hold. Without glibc nothing is done.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in words for part in _MESSAGES)


class _Watch(TorchDispatchMode):
    """Counts the bytes of all tensors that are made within it, while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        # What an operation was given, `out=` included, is not made by it.
        inputs = (*args, *(kwargs or {}).values())
        given = {id(a.untyped_storage()) for a in inputs if isinstance(a, Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage(), given)
        return result

    def _count(self, storage: Any, given: set[int]) -> None:
        key = id(storage)
        if key in self._seen or key in given:
            return
        self._seen.add(key)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def peak_bytes(work: Callable[[], Any]) -> int:
    """Most bytes of tensors that `work` makes and holds at once, its result included.

    Exact for what the framework allocates, on any device; a kernel's own scratch is not seen.
    """
    watch = _Watch()
    with watch:
        result = work()
    del result
    return watch.peak
