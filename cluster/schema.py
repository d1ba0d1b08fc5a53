"""The tables of a ledger, and whether a file has them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from cluster.errors import LedgerCorrupt, LedgerError

__all__ = ["SCHEMA_VERSION", "create", "damaged", "verify"]

SCHEMA_VERSION = 1
APPLICATION_ID = 0x4C534850  # "LSHP": tells our file from any other SQLite database
SCHEMA = """
CREATE TABLE campaigns (
    name TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    players TEXT NOT NULL,          -- JSON list of names, in depth order
    sequence_tokens TEXT NOT NULL,  -- JSON list: tokens a calibration sequence, the weights
    details TEXT NOT NULL,          -- JSON object: model, text, dtype, ...
    created REAL NOT NULL
) STRICT;
CREATE TABLE measurements (
    fingerprint TEXT NOT NULL,
    key BLOB NOT NULL,              -- kept players, packed little-endian
    removed INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ok', 'non-finite', 'failed')),
    utility REAL,                   -- minus the token-weighted mean of nll; NULL unless ok
    nll BLOB,                       -- float32 little-endian, one number a sequence
    kl BLOB,
    top1 BLOB,
    times_measured INTEGER NOT NULL,
    worker TEXT NOT NULL,
    seconds REAL NOT NULL,          -- this coalition's share of its chunk
    created REAL NOT NULL,
    PRIMARY KEY (fingerprint, key)
) STRICT;
CREATE TABLE events (
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL            -- JSON object
) STRICT;
"""


def create(db: sqlite3.Connection) -> None:
    """Creates the tables of an empty file, all or none."""
    db.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID};"
        f" PRAGMA user_version = {SCHEMA_VERSION}; {SCHEMA} COMMIT;"
    )


def verify(db: sqlite3.Connection, path: Path) -> None:
    """Reads a whole file and tells whether it is a sound ledger, or one that is still empty.

    Raises:
        LedgerCorrupt: if it is damaged or belongs to another program.
        LedgerError: if a newer version wrote it.
        sqlite3.DatabaseError: if SQLite cannot even read it.
    """
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise LedgerCorrupt(damaged(path, problem))
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        return  # its writer was killed between creating the file and its first transaction
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerCorrupt(
            f"{path} is a SQLite database of another program; choose another --output directory"
        )
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path} has schema version {version}, this version of layershap knows up to"
            f" {SCHEMA_VERSION}; upgrade layershap or choose another --output directory"
        )


def damaged(path: Path, problem: object) -> str:
    """Returns the message about a damaged file."""
    words = " ".join(str(problem).split())
    return (
        f"{path} is damaged or is no ledger ({words}); it was not touched: restore a copy or choose"
        " another --output directory"
    )
