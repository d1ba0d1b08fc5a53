"""Who is writing to a run directory, asked without touching its lock."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["LockHolder", "find_lock_holder"]


@dataclass(frozen=True)
class LockHolder:
    """A process that writes to a run directory.

    Attributes:
        pid: of the process.
        since: when it began to, in seconds since the epoch.
        command: its command line; empty on another machine.
        host: name of another machine that it said it runs on; None for this one. Whether it still
            does can be told there only.
    """

    pid: int
    since: float
    command: tuple[str, ...]
    host: str | None = None


def find_lock_holder(ledger: Path) -> LockHolder | None:
    """Returns who holds the lock of a ledger; None if nobody does.

    To try the lock would for a moment refuse it to a run that starts. So the process that the lock
    file names is asked whether it has that file open, which no later process of its number has.

    Args:
        ledger: the ledger's file.
    """
    lock = ledger.with_suffix(".lock")
    try:
        words, since = lock.read_text(encoding="utf-8").split(), lock.stat().st_mtime
        pid, host = int(words[0]), words[1] if len(words) > 1 else None
        if host not in (None, socket.gethostname()):
            return LockHolder(pid, since, (), host)
        process = psutil.Process(pid)
        held = any(Path(file.path) == lock.resolve() for file in process.open_files())
        return LockHolder(pid, since, tuple(process.cmdline())) if held else None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
