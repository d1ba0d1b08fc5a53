"""The file under a ledger: rows, transactions and the events of a run."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster.ledger.database import Database

__all__ = ["Event", "Store"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """Something that happened during a run.

    Attributes:
        time: seconds since the epoch.
        kind: for example ``"run started"`` or ``"worker died"``.
        detail: what else is known about it.
    """

    time: float
    kind: str
    detail: Mapping[str, Any]


class Store:
    """Holds the file of one run directory open and writes events to it.

    Its arguments, attributes and errors are those of :class:`cluster.Ledger`.
    """

    def __init__(self, path: Path | str, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self._database = Database(self.path, readonly=readonly)
        self.readonly = readonly
        self.upgraded_from = self._database.upgraded_from

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and, for a writer, gives the run directory back."""
        self._database.close()

    def log_event(self, kind: str, **detail: Any) -> None:
        """Writes an event, also to the log."""
        log.info("%s: %s", kind, ", ".join(f"{name} {value}" for name, value in detail.items()))
        with self.transaction() as db:
            db.execute(
                "INSERT INTO events VALUES (?, ?, ?)", (time.time(), kind, json.dumps(detail))
            )

    def events(self, kind: str | None = None) -> tuple[Event, ...]:
        """Returns the events, oldest first, all or those of one kind."""
        rows = self.fetch(
            "SELECT time, kind, detail FROM events WHERE ?1 IS NULL OR kind = ?1 ORDER BY rowid",
            (kind,),
        )
        return tuple(Event(when, what, json.loads(detail)) for when, what, detail in rows)

    def fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Returns all rows of a query.

        Raises:
            LedgerError: if the file cannot be read, in one line.
        """
        return self._database.fetch(query, values)

    def stream(
        self, query: str, values: Sequence[Any] = (), size: int = 10_000
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yields the rows of a query, at most ``size`` at a time, as they were when it began.

        Args:
            query: in SQL, with marks for the values.
            values: that take the places of the marks.
            size: most rows at a time.

        Raises:
            LedgerError: if the file cannot be read, in one line.
        """
        return self._database.stream(query, values, size)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Runs a block in one transaction: all of it is on the disk afterwards, or nothing.

        It costs one fsync instead of one a write. Inside another transaction it becomes a part of
        that one. If anything in it fails, nothing of it is written, even if the block goes on.

        Raises:
            LedgerError: if the ledger is read-only, or the disk is full or fails.
        """
        return self._database.transaction()
