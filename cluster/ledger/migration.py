"""Older ledgers made into the present schema, in one transaction."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import numpy as np

from cluster.errors import LedgerCorrupt
from cluster.ledger.columns import Column, to_json, widths
from cluster.ledger.schema import SCHEMA_VERSION, TABLES, damaged, version

__all__ = ["upgrade"]

VERSION_1_METRICS = {"nll": -1, "kl": -1, "top1": 1}


def upgrade(db: sqlite3.Connection, path: Path) -> int:
    """Gives a file of any older version the present schema; killed in the middle, it is as it was.

    Measured values keep their bits. What version 1 left out is NaN, and its rows keep their
    status, which went by the loss alone.

    Args:
        db: a connection for writing, outside a transaction.
        path: of the file, for messages.

    Returns:
        the version that the file had.

    Raises:
        LedgerCorrupt: if the rows of the file contradict each other; it is left as it was.
        sqlite3.DatabaseError: if the disk is full or fails; the file is left as it was.
    """
    before = version(db)
    if before == SCHEMA_VERSION:
        return before
    db.execute("BEGIN IMMEDIATE")
    try:
        _from_1(db, path)
        db.execute(
            "INSERT INTO events VALUES (?, 'ledger upgraded', ?)",
            (time.time(), json.dumps({"from": before, "to": SCHEMA_VERSION})),
        )
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return before


def _from_1(db: sqlite3.Connection, path: Path) -> None:
    # Whole sequences of numbers, columns nll, kl and top1 and a ready-made utility.
    db.execute("ALTER TABLE campaigns RENAME TO campaigns_1")
    db.execute("ALTER TABLE measurements RENAME TO measurements_1")
    for name in ("layouts", "campaigns", "measurements", "troubles"):
        db.execute(TABLES[name])
    rows = db.execute("SELECT * FROM campaigns_1 ORDER BY created, name").fetchall()
    lengths: dict[str, int] = {}
    for name, fingerprint, players, tokens, details, created in rows:
        weights = tuple(json.loads(tokens))
        columns = [Column(metric, weights, sign) for metric, sign in VERSION_1_METRICS.items()]
        if lengths.setdefault(fingerprint, 4 * len(weights)) != 4 * len(weights):
            raise LedgerCorrupt(damaged(path, f"campaign {name} has another number of sequences"))
        db.execute(
            "INSERT INTO layouts (fingerprint, players, columns) VALUES (?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (fingerprint, len(json.loads(players)), widths(columns)),
        )
        db.execute(
            "INSERT INTO campaigns VALUES (?, ?, ?, ?, 'nll', ?, ?)",
            (name, fingerprint, players, to_json(columns), details, created),
        )
    _check(db, path, lengths)
    db.create_function("layershap_joined", 3, _joined, deterministic=True)
    db.execute(
        "INSERT INTO measurements"
        " SELECT layouts.id, key, removed, status, layershap_joined(nll, kl, top1),"
        " times_measured, worker, seconds, created FROM measurements_1 JOIN layouts"
        " USING (fingerprint) ORDER BY measurements_1.rowid"
    )
    db.create_function("layershap_joined", 3, None)
    db.execute("DROP TABLE measurements_1")
    db.execute("DROP TABLE campaigns_1")


def _check(db: sqlite3.Connection, path: Path, lengths: dict[str, int]) -> None:
    found = db.execute(
        "SELECT fingerprint, min(length(nll)), max(length(nll)), min(length(kl)), max(length(kl)),"
        " min(length(top1)), max(length(top1)) FROM measurements_1 GROUP BY fingerprint"
    )
    for fingerprint, *bounds in found:
        if fingerprint not in lengths:
            raise LedgerCorrupt(damaged(path, f"no campaign has fingerprint {fingerprint}"))
        if any(bound not in (None, lengths[fingerprint]) for bound in bounds):
            raise LedgerCorrupt(damaged(path, "a measurement has too few or too many numbers"))


def _joined(*vectors: bytes | None) -> bytes | None:
    known = [vector for vector in vectors if vector is not None]
    if not known:
        return None  # quarantined
    absent = np.full(len(known[0]) // 4, np.nan, dtype="<f4").tobytes()
    return b"".join(absent if vector is None else vector for vector in vectors)
