"""The machine that a run is measured on, in words."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

__all__ = ["described"]


def described(device: torch.device, workers: int | None) -> str:
    """Describe device, memory and workers for people.

    Args:
        device: that the model is measured on.
        workers: model replicas; None for as many as a cluster has room for.
    """
    replicas = "workers of the cluster" if workers is None else f"{workers} workers"
    if device.type == "cuda":
        import torch

        known = torch.cuda.is_available()
        name = torch.cuda.get_device_name(device) if known else "GPU"
        return f"{name}, {replicas}"
    memory = psutil.virtual_memory().total / 2**30
    cores = f"{psutil.cpu_count()} CPU cores ({platform.machine()})"
    return f"{cores}, {memory:.0f} GiB, {replicas}"
