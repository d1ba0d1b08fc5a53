"""What a running command is at: `progress.json`, which `layershap status` reads elsewhere."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from layershap.files import write_whole
from layershap.terminal.progress import Counted, Progress

__all__ = ["ProgressSnapshot", "ProgressWriter", "read_beat"]

NAME = "progress.json"
EVERY_SECONDS = 1.0
COUNTED = tuple(field.name for field in fields(Progress))


@dataclass(frozen=True)
class ProgressSnapshot:
    """What a command is at.

    Attributes:
        process: its number.
        host: the machine it runs on.
        time: when this was written, in seconds since the epoch.
        stage: of the run.
        task: what it does there; None between tasks.
        progress: of the task; None where its steps cannot be counted.
    """

    process: int
    host: str
    time: float
    stage: str | None = None
    task: str | None = None
    progress: Progress | None = None


class ProgressWriter:
    """Writes what a command is at, at most once a second unless it is at something else."""

    def __init__(self, folder: Path) -> None:
        """Begins.

        Args:
            folder: of a run that this process is the only one to write to.
        """
        self._path = folder / NAME
        self._host = socket.gethostname()
        self._last: tuple[str | None, str | None] = (None, None)
        self._at = 0.0

    def beat(self, stage: str | None, task: str | None = None, at: Counted | None = None) -> None:
        """Writes it; what cannot be written is no reason to stop.

        Args:
            stage: of the run.
            task: what goes on there; None between tasks.
            at: how far it is; None where that cannot be counted.
        """
        now = time.time()
        ended = at is None or at.done == at.total
        if (stage, task) == self._last and not ended and now - self._at < EVERY_SECONDS:
            return
        self._last, self._at = (stage, task), now
        content = {
            "process": os.getpid(),
            "host": self._host,
            "time": now,
            "stage": stage,
            "task": task,
            **{name: getattr(at, name, None) for name in COUNTED},
        }
        with suppress(OSError):
            write_whole(self._path, json.dumps(content) + "\n")

    def stop(self) -> None:
        """Takes it away: nothing goes on any more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def read_beat(folder: Path) -> ProgressSnapshot | None:
    """Returns what was written last; None where there is nothing, or nothing readable."""
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        counted = [content.get(name) for name in COUNTED]
        return ProgressSnapshot(
            content["process"],
            content["host"],
            content["time"],
            content.get("stage"),
            content.get("task"),
            None if None in counted[:2] else Progress(*counted),
        )
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return None
