"""Where the surrogate computes: the CPU, unless the user configured JAX otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["computing", "cores"]


@contextmanager
def computing() -> Iterator[None]:
    """Runs the JAX work of its block on the CPU.

    A platform or default device that the user chose (``JAX_PLATFORMS``, ``jax_platforms`` or
    ``jax_default_device``) is respected. Nothing is changed for JAX code outside the block.
    """
    # Read by XLA when its first client starts: without it JAX would take most of the memory of
    # a GPU that the measured model needs, although not one array is ever put there.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    chosen = [getattr(jax.config, name, None) for name in ("jax_platforms", "jax_default_device")]
    if any(choice is not None and choice != "" for choice in chosen):
        yield
        return
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


def cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
