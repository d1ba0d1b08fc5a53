"""The ledger: a SQLite file that holds every measured coalition and survives any crash."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster.campaign import Campaign
from cluster.errors import CampaignMismatch, LedgerCorrupt, LedgerError, LedgerLocked
from cluster.lock import WriterLock
from cluster.schema import create, damaged, verify

__all__ = ["Event", "Ledger"]

BUSY_SECONDS = 30.0


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


class Ledger:
    """The store of measurements of one run directory.

    A writer holds the directory's lock from construction to :meth:`close`. Readers need no lock
    and see every committed row, also while a writer is at work. Use it as a context manager.

    Args:
        path: the file, usually ``<run directory>/ledger.sqlite``. A writer creates it and its
            directory.
        readonly: open an existing ledger to read it.

    Raises:
        LedgerLocked: if another process writes to the same run directory.
        LedgerCorrupt: if the file is damaged or is no ledger. The file is left as it is.
        LedgerError: if the file cannot be opened, or was written by a newer version.
    """

    def __init__(self, path: Path | str, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self.readonly = readonly
        self._lock: WriterLock | None = None
        if readonly and not self.path.exists():
            raise LedgerError(f"no ledger at {self.path}; measure something first")
        if not readonly:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LedgerError(
                    f"cannot create {self.path.parent}: {error.strerror}; choose an --output"
                    " directory that is writable"
                ) from error
            self._lock = WriterLock(self.path.with_suffix(".lock"))
        try:
            with self._one_line():
                self._check()
                self._db = self._connect("ro" if readonly else "rwc")
                try:
                    self._prepare()
                except BaseException:
                    self._db.close()
                    raise
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

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
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    def open_campaign(
        self,
        name: str,
        fingerprint: str,
        players: Sequence[str],
        sequence_tokens: Sequence[int],
        details: Mapping[str, Any],
    ) -> Campaign:
        """Returns the campaign of this name, created if it is new.

        Args:
            name: for example ``"calibration"`` or ``"heldout"``.
            fingerprint: content hash of everything that decides a measurement. Campaigns of the
                same fingerprint share their measurements.
            players: names in depth order.
            sequence_tokens: tokens in each sequence of the text, the weights of the utility.
            details: what the fingerprint was made of, in words. JSON values only.

        Raises:
            CampaignMismatch: if the name was measured with another fingerprint.
            LedgerError: if the arguments cannot describe a campaign.
        """
        asked = Campaign(
            ledger=self,
            name=name,
            fingerprint=fingerprint,
            players=tuple(players),
            sequence_tokens=tuple(int(count) for count in sequence_tokens),
            # Through JSON once, so that a stored and a fresh campaign compare equal.
            details=json.loads(json.dumps(dict(details))),
        )
        known = self._campaigns(name)
        if known:
            if not known[0].same_as(asked):
                raise CampaignMismatch(_mismatch(self.path, known[0], asked))
            return known[0]
        row = (
            name,
            fingerprint,
            json.dumps(asked.players),
            json.dumps(asked.sequence_tokens),
            json.dumps(asked.details),
            time.time(),
        )
        with self.transaction() as db:
            db.execute("INSERT INTO campaigns VALUES (?, ?, ?, ?, ?, ?)", row)
        return asked

    def campaign(self, name: str) -> Campaign:
        """Returns a campaign that exists.

        Raises:
            LedgerError: if there is none of this name.
        """
        known = self._campaigns(name)
        if not known:
            names = ", ".join(self.campaign_names()) or "none"
            raise LedgerError(f"no campaign {name!r} in {self.path}; it has {names}")
        return known[0]

    def campaign_names(self) -> tuple[str, ...]:
        """Returns the names of all campaigns, oldest first."""
        rows = self.fetch("SELECT name FROM campaigns ORDER BY created, name")
        return tuple(name for (name,) in rows)

    def note(self, kind: str, **detail: Any) -> None:
        """Writes an event."""
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
        with self._one_line():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Runs a block in one transaction: all of it is on the disk afterwards, or nothing.

        Raises:
            LedgerError: if the ledger is read-only, or the disk is full or fails.
        """
        if self.readonly:
            raise LedgerError(f"{self.path} was opened to read; open it with readonly=False")
        with self._one_line():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _campaigns(self, name: str) -> list[Campaign]:
        rows = self.fetch(
            "SELECT fingerprint, players, sequence_tokens, details FROM campaigns WHERE name = ?",
            (name,),
        )
        return [
            Campaign(
                ledger=self,
                name=name,
                fingerprint=fingerprint,
                players=tuple(json.loads(players)),
                sequence_tokens=tuple(json.loads(tokens)),
                details=json.loads(details),
            )
            for fingerprint, players, tokens, details in rows
        ]

    def _check(self) -> None:
        """Looks at an existing file without write access, so that a damaged one stays as it is."""
        if not self.path.exists() or self.path.stat().st_size == 0:
            return
        db = self._connect("ro")
        try:
            verify(db, self.path)
        finally:
            db.close()

    def _connect(self, mode: str) -> sqlite3.Connection:
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        journal = self.path.with_name(f"{self.path.name}-wal")
        pending = journal.exists() and journal.stat().st_size > 0
        if mode == "ro" and not pending and not os.access(self.path.parent, os.W_OK):
            # A reader of a WAL database wants to create side files. Where it cannot, nobody else
            # can write either, and the file may be read as it stands.
            address += "&immutable=1"
        return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    def _prepare(self) -> None:
        fresh = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if self.readonly:
            if fresh:
                raise LedgerError(f"the ledger {self.path} is empty; measure something first")
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL: a row that was reported as recorded survives a power cut, not only a crash of the
        # process. It costs one fsync a chunk, and a chunk takes seconds to measure.
        self._db.execute("PRAGMA synchronous = FULL")
        if fresh:
            create(self._db)

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        """Says in one line, with a remedy, what SQLite says in a code."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
                raise LedgerCorrupt(damaged(self.path, error)) from error
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise LedgerLocked(
                    f"{self.path} was locked for {BUSY_SECONDS:g} s by another program; close it"
                    " and start again"
                ) from error
            if name.startswith(
                ("SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_CANTOPEN")
            ):
                raise LedgerError(
                    f"cannot use {self.path}: {error}; free some space or choose an --output"
                    " directory that is writable, nothing recorded so far is lost"
                ) from error
            raise


def _mismatch(path: Path, stored: Campaign, asked: Campaign) -> str:
    if stored.fingerprint == asked.fingerprint:
        differing = [
            f"{field} differ"
            for field in ("players", "sequence_tokens")
            if getattr(stored, field) != getattr(asked, field)
        ]
    else:
        differing = [
            f"{key} was {stored.details.get(key)!r} and is now {asked.details.get(key)!r}"
            for key in sorted({*stored.details, *asked.details})
            if stored.details.get(key) != asked.details.get(key)
        ] or ["the details are the same, so the contents of the weights or of the text changed"]
    return (
        f"campaign {stored.name!r} in {path} has fingerprint {stored.fingerprint}, this run has"
        f" {asked.fingerprint}: {'; '.join(differing)}; choose another --output directory"
    )
