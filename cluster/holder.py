"""Who is writing to a run directory, asked without touching its lock."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Holder", "find_holder"]


@dataclass(frozen=True)
class Holder:
    """A process that writes to a run directory.

    Attributes:
        pid: of the process, on this machine.
        since: when it began to, in seconds since the epoch.
        command: its command line.
    """

    pid: int
    since: float
    command: tuple[str, ...]


def find_holder(ledger: Path) -> Holder | None:
    """Returns who holds the lock of a ledger; None if nobody on this machine does.

    To try the lock would for a moment refuse it to a run that starts. So the process that the lock
    file names is asked whether it has that file open, which no later process of its number has.

    Args:
        ledger: the ledger's file.
    """
    lock = ledger.with_suffix(".lock")
    try:
        pid, since = int(lock.read_text(encoding="ascii")), lock.stat().st_mtime
        process = psutil.Process(pid)
        held = any(Path(file.path) == lock.resolve() for file in process.open_files())
        return Holder(pid, since, tuple(process.cmdline())) if held else None
    except (OSError, ValueError, psutil.Error):
        return None
