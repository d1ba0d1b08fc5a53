"""A ledger's SQLite file: opened with care, written in whole transactions, read in one line."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.errors import LedgerCorrupt, LedgerError, LedgerLocked
from cluster.ledger.lock import WriterLock
from cluster.ledger.migration import upgrade
from cluster.ledger.schema import SCHEMA_VERSION, create, damaged, is_empty, verify, version

__all__ = ["Database"]

BUSY_SECONDS = 30.0


class Database:
    """An open file with the tables of :mod:`cluster.ledger.schema`, owned by a `Ledger`.

    Args:
        path: the file. A writer creates it and its directory, and upgrades an older one.
        readonly: open an existing file to read it.

    Attributes:
        upgraded_from: the older schema version that a writer found, or None.

    Raises:
        LedgerError: as :class:`cluster.Ledger` says.
    """

    def __init__(self, path: Path, *, readonly: bool) -> None:
        self.path = path
        self.readonly = readonly
        self.upgraded_from: int | None = None
        self._inside = self._broken = False
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

    def close(self) -> None:
        """Closes the file and, for a writer, gives the run directory back."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    def fetch(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Returns all rows of a query.

        Raises:
            LedgerError: if the file cannot be read, in one line.
        """
        with self._one_line():
            return self._db.execute(query, values).fetchall()

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
        with self._one_line():
            cursor = self._db.execute(query, values)
        while True:
            with self._one_line():
                rows = cursor.fetchmany(size)
            if not rows:
                return
            yield rows

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Runs a block in one transaction: all of it is on the disk afterwards, or nothing.

        Inside another transaction it becomes a part of that one.

        Raises:
            LedgerError: if the ledger is read-only, or the disk is full or fails.
        """
        if self.readonly:
            raise LedgerError(f"{self.path} was opened to read; open it with readonly=False")
        # What is joined to a failed part would be written without it: SQLite ends some failed
        # transactions itself, and then every further statement would be one of its own.
        undone = LedgerError(
            f"an earlier write to {self.path} failed and everything written together with it was"
            " undone; write all of it again"
        )
        if self._inside:
            if self._broken:
                raise undone
            try:
                with self._one_line():
                    yield self._db
            except BaseException:
                self._broken = True
                raise
            return
        with self._one_line():
            self._db.execute("BEGIN IMMEDIATE")
            self._inside, self._broken = True, False
            try:
                yield self._db
                if self._broken:
                    raise undone
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._inside = False

    def _check(self) -> None:
        """Looks at an existing file without writing to it, so that a damaged one stays as it is."""
        if not self.path.exists() or self.path.stat().st_size == 0:
            return
        db = self._connect("ro")
        try:
            verify(db, self.path, readonly=self.readonly)
        finally:
            db.close()

    def _connect(self, mode: str) -> sqlite3.Connection:
        pending = self._side_file("-wal")
        if mode == "ro" and self._side_file("-journal"):
            # Its writer was killed while it made the file. Only a connection that may write can
            # take the half-made start back.
            mode = "rw"
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        if mode == "ro" and not pending and not os.access(self.path.parent, os.W_OK):
            # A reader of a WAL database wants to create side files. Where it cannot, nobody else
            # can write either, and the file may be read as it stands.
            address += "&immutable=1"
        return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    def _side_file(self, ending: str) -> bool:
        """Tells whether SQLite left something in a file beside ours."""
        try:
            return self.path.with_name(f"{self.path.name}{ending}").stat().st_size > 0
        except FileNotFoundError:
            return False

    def _prepare(self) -> None:
        fresh = is_empty(self._db)
        if self.readonly:
            if fresh:
                raise LedgerError(f"the ledger {self.path} is empty; measure something first")
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        # FULL: a row that was reported as recorded survives a power cut, not only a crash of the
        # process. It costs one fsync a transaction; together() makes one of many writes.
        self._db.execute("PRAGMA synchronous = FULL")
        if fresh:
            create(self._db)
        elif version(self._db) != SCHEMA_VERSION:
            self.upgraded_from = upgrade(self._db, self.path)

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
