"""The host's memory as a place for layers that do not fit a GPU."""

from __future__ import annotations

import mmap
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

__all__ = ["free_memory", "host_buffer", "pin"]


def free_memory() -> int:
    """Bytes that this process can still take: the machine's, or its container's if fewer."""
    free = psutil.virtual_memory().available
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text("ascii").strip()
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):
        return free


def host_buffer(nbytes: int) -> Tensor:
    """Zeroed bytes on pages of their own, given back to the system as soon as they are unused."""
    return torch.frombuffer(mmap.mmap(-1, max(nbytes, 1)), dtype=torch.uint8)[:nbytes]


def pin(host: Tensor, owner: Any) -> bool:
    """Lock a buffer's pages for direct copies to a GPU, until `owner` is gone.

    Torch's own pinned memory rounds sizes up to powers of 2, which layers cannot afford.

    Returns:
        Whether the system allowed it; copies are right either way.
    """
    runtime: Any = torch.cuda.cudart()
    if int(runtime.cudaHostRegister(host.data_ptr(), host.numel(), 0)) != 0:
        # The refusal would be reported by the next kernel: let that be one that nobody needs.
        with suppress(RuntimeError):
            torch.zeros(1, device="cuda")
        return False
    weakref.finalize(owner, runtime.cudaHostUnregister, host.data_ptr()).atexit = False
    return True
