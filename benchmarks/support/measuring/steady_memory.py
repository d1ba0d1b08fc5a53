"""Keeps freed memory inside the process, so that large tensors do not cost page faults."""

from __future__ import annotations

import os
import platform
import sys

__all__ = ["keep_freed_memory"]

_SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
_NEVER = str(2**32)


def keep_freed_memory(module: str) -> None:
    """Starts `python -m module` anew with glibc told not to give memory back.

    glibc maps every large tensor afresh and returns it when freed, and the kernel clears each
    page again at its first touch. The settings are read once, when a process starts. Everything
    that a benchmark compares runs under them alike. Other systems are left as they are.
    """
    if platform.libc_ver()[0] != "glibc" or any(name in os.environ for name in _SETTINGS):
        return
    environment = {**os.environ, **dict.fromkeys(_SETTINGS, _NEVER)}
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], environment)
