"""The tables of a ledger, and whether a file has them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from cluster.errors import LedgerCorrupt, LedgerError

__all__ = ["SCHEMA_VERSION", "TABLES", "create", "damaged", "is_empty", "verify", "version"]

SCHEMA_VERSION = 2
APPLICATION_ID = 0x4C534850  # "LSHP": tells our file from any other SQLite database
# All columns of a measurement are one blob, because they are always written and mostly read
# together: that is a quarter smaller than a row a column and twice as fast to write. The layout's
# number stands for its fingerprint, which would be in every row and once more in the index (a third
# of the file). The index alone answers which coalitions are there.
TABLES = {
    "layouts": """
CREATE TABLE layouts (
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL UNIQUE,
    players INTEGER NOT NULL,       -- how many
    columns TEXT NOT NULL           -- JSON list of [name, numbers a coalition], as in vectors
) STRICT""",
    "campaigns": """
CREATE TABLE campaigns (
    name TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL REFERENCES layouts (fingerprint),
    players TEXT NOT NULL,          -- JSON list of names, in depth order
    columns TEXT NOT NULL,          -- JSON list of objects: name, weights, sign
    utility TEXT NOT NULL,          -- name of the column that decides
    details TEXT NOT NULL,          -- JSON object: model, text, dtype, ...
    created REAL NOT NULL
) STRICT""",
    "measurements": """
CREATE TABLE measurements (
    layout INTEGER NOT NULL REFERENCES layouts (id),
    key BLOB NOT NULL,              -- kept players, packed little-endian
    removed INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('ok', 'non-finite', 'failed')),
    vectors BLOB,                   -- float32 little-endian, column after column; NULL if failed
    times_measured INTEGER NOT NULL,
    worker TEXT NOT NULL,
    seconds REAL NOT NULL,          -- this coalition's share of its chunk
    created REAL NOT NULL,
    PRIMARY KEY (layout, key)
) STRICT""",
    "troubles": "CREATE INDEX troubles ON measurements (layout, key, status) WHERE status <> 'ok'",
    "events": """
CREATE TABLE events (
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL            -- JSON object
) STRICT""",
}


def create(db: sqlite3.Connection) -> None:
    """Creates the tables of an empty file, all or none."""
    tables = "; ".join(TABLES.values())
    db.executescript(
        f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID};"
        f" PRAGMA user_version = {SCHEMA_VERSION}; {tables}; COMMIT;"
    )


def version(db: sqlite3.Connection) -> int:
    """Returns the schema version that a file says it has."""
    return db.execute("PRAGMA user_version").fetchone()[0]


def is_empty(db: sqlite3.Connection) -> bool:
    """Tells whether a file has no tables: its writer was killed before its first transaction."""
    return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def verify(db: sqlite3.Connection, path: Path, *, readonly: bool = False) -> None:
    """Reads a whole file and tells whether it is a sound ledger, or one that is still empty.

    Args:
        db: the open file.
        path: of it, for messages.
        readonly: whether it is only to be read.

    Raises:
        LedgerCorrupt: if it is damaged or belongs to another program.
        LedgerError: if a newer version wrote it, or an older one and it is only to be read.
        sqlite3.DatabaseError: if SQLite cannot even read it.
    """
    problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise LedgerCorrupt(damaged(path, problem))
    if is_empty(db):
        return
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise LedgerCorrupt(
            f"{path} is a SQLite database of another program; choose another --output directory"
        )
    found = version(db)
    if found > SCHEMA_VERSION:
        raise LedgerError(
            f"{path} has schema version {found}, this version of layershap knows up to"
            f" {SCHEMA_VERSION}; upgrade layershap or choose another --output directory"
        )
    if found < SCHEMA_VERSION and readonly:
        raise LedgerError(
            f"{path} has schema version {found}, this version of layershap reads"
            f" {SCHEMA_VERSION}; run layershap ledger upgrade {path.parent}"
        )


def damaged(path: Path, problem: object) -> str:
    """Returns the message about a damaged file."""
    words = " ".join(str(problem).split())
    return (
        f"{path} is damaged or is no ledger ({words}); it was not touched: restore a copy or choose"
        " another --output directory"
    )
