"""Whether a run is going on, which command does it, and how fast it measures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from layershap.runs.directory import RunDirectory
from layershap.terminal.progress_file import ProgressSnapshot, read_beat

if TYPE_CHECKING:
    from cluster import Ledger

__all__ = ["ProcessInfo", "read_process_info", "verb"]

WINDOW_SECONDS = 60.0
SILENT_SECONDS = 600.0  # without a sign from another machine, after which a run may be dead


@dataclass(frozen=True)
class ProcessInfo:
    """What goes on in a run directory.

    Attributes:
        process: number of the process that writes to it; None if there is none.
        since: when it began, in seconds since the epoch.
        verb: the command it runs, as ``run`` or ``search``; None where that cannot be told.
        rate: coalitions a second lately; None where none were measured.
        worker_seconds: time that workers have spent on all measurements.
        last_measured: seconds since the epoch; None where nothing was.
        host: name of another machine that the process runs on, or did; None for this one.
        beat: what the process says it is at.
    """

    process: int | None
    since: float
    verb: str | None
    rate: float | None
    worker_seconds: float
    last_measured: float | None
    host: str | None = None
    beat: ProgressSnapshot | None = None

    @property
    def running(self) -> bool:
        """Whether somebody writes to it, as far as can be told."""
        if self.process is None:
            return False
        return self.host is None or self.silent_seconds(time.time()) < SILENT_SECONDS

    def silent_seconds(self, now: float) -> float:
        """Seconds since the process was last heard of."""
        beaten = 0.0 if self.beat is None else self.beat.time
        return max(0.0, now - max(self.since, beaten, self.last_measured or 0.0))


def read_process_info(directory: RunDirectory, ledger: Ledger, now: float) -> ProcessInfo:
    """Returns what goes on, from the lock's file and the ledger.

    Args:
        directory: of the run.
        ledger: its ledger.
        now: seconds since the epoch.
    """
    from cluster.ledger.lock_holder import find_lock_holder

    seconds, last = ledger.fetch("SELECT sum(seconds), max(created) FROM measurements")[0]
    holder = find_lock_holder(directory.ledger)
    if holder is None:
        return ProcessInfo(None, 0.0, None, None, seconds or 0.0, last)
    # Workers that are still loading the model say nothing about the pace.
    ready = [e.time for e in ledger.events("worker ready") if e.time >= holder.since]
    since = max([now - WINDOW_SECONDS, holder.since, *ready[:1]])
    lately = ledger.fetch("SELECT count(*) FROM measurements WHERE created >= ?", (since,))[0][0]
    rate = lately / (now - since) if lately and now > since else None
    beat = read_beat(directory.path)
    if beat is not None and beat.process != holder.pid:
        beat = None  # of an earlier process that was killed
    command = verb(holder.command)
    if holder.host is not None:
        command = "run"
    return ProcessInfo(
        holder.pid, holder.since, command, rate, seconds or 0.0, last, holder.host, beat
    )


def verb(command: Sequence[str]) -> str | None:
    """Returns which of `layershap`'s commands a command line is; None if it is something else."""
    for place, word in enumerate(command[:-1]):
        path = Path(word)
        as_file = path.name == "__main__.py" and path.parent.name == "layershap"
        if path.stem == "layershap" or as_file:
            following = command[place + 1]
            return following if not following.startswith("-") else None
    return None
