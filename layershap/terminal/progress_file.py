"""What a running command is at: `progress.json`, which `layershap status` reads elsewhere."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from layershap.files import write_whole

__all__ = ["ProgressSnapshot", "ProgressWriter", "read_beat"]

NAME = "progress.json"
EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class ProgressSnapshot:
    """What a command is at.

    Attributes:
        process: its number.
        host: the machine it runs on.
        time: when this was written, in seconds since the epoch.
        stage: of the run.
        task: what it does there; None between tasks.
        done: steps of the task that are done; None where they cannot be counted.
        total: steps of the task.
        rate: steps a second; None where it is not known.
        seconds_left: of the task; None where it cannot be told.
    """

    process: int
    host: str
    time: float
    stage: str | None = None
    task: str | None = None
    done: int | None = None
    total: int | None = None
    rate: float | None = None
    seconds_left: float | None = None


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

    def beat(
        self,
        stage: str | None,
        task: str | None = None,
        done: int | None = None,
        total: int | None = None,
        rate: float | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Writes it; what cannot be written is no reason to stop."""
        now = time.time()
        if (stage, task) == self._last and done != total and now - self._at < EVERY_SECONDS:
            return
        self._last, self._at = (stage, task), now
        beat = ProgressSnapshot(
            os.getpid(), self._host, now, stage, task, done, total, rate, seconds_left
        )
        with suppress(OSError):
            write_whole(self._path, json.dumps(asdict(beat)) + "\n")

    def stop(self) -> None:
        """Takes it away: nothing goes on any more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def read_beat(folder: Path) -> ProgressSnapshot | None:
    """Returns what was written last; None where there is nothing, or nothing readable."""
    names = {field.name for field in fields(ProgressSnapshot)}
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return ProgressSnapshot(**{name: value for name, value in content.items() if name in names})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
