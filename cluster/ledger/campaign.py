"""A campaign: one text measured on one model, and what the ledger knows about it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

import sampling
from cluster.errors import LedgerError
from cluster.ledger.columns import Column, as_float32, check_metrics, find, pack, unpack
from cluster.ledger.records import Counts, Records, join
from cluster.ledger.store import Store

__all__ = ["Campaign"]

KEYS_A_QUERY = 500  # below SQLite's smallest limit on host parameters
ROWS_A_BATCH = 10_000
OURS = "layout = (SELECT id FROM layouts WHERE fingerprint = ?)"
SELECT = (
    f"SELECT key, status, vectors, times_measured, seconds, worker FROM measurements WHERE {OURS}"
)
# A row that holds values keeps them; being written again only shows in its counter. A row that
# was quarantined holds no values, so a later measurement fills it.
UPSERT = """
INSERT INTO measurements VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?)
ON CONFLICT (layout, key) DO UPDATE SET
    times_measured = times_measured + 1,
    status = CASE WHEN status = 'failed' THEN excluded.status ELSE status END,
    vectors = CASE WHEN status = 'failed' THEN excluded.vectors ELSE vectors END,
    worker = CASE WHEN status = 'failed' THEN excluded.worker ELSE worker END,
    seconds = CASE WHEN status = 'failed' THEN excluded.seconds ELSE seconds END,
    created = CASE WHEN status = 'failed' THEN excluded.created ELSE created END
"""


@dataclass(frozen=True)
class Campaign:
    """A handle on one campaign of a ledger; get it from :meth:`cluster.Ledger.open_campaign`.

    The utility is computed when measurements are read, so ``dataclasses.replace(campaign,
    utility="kl")`` asks the same measurements another question.

    Attributes:
        ledger: where its measurements are.
        name: for example ``"calibration"``.
        fingerprint: content hash of everything that decides a measurement.
        players: names in depth order, ``n`` of them.
        columns: what is measured of a coalition.
        utility: name of the column that decides.
        details: what the fingerprint was made of, in words.

    Raises:
        LedgerError: if there are no players, or the columns and the utility do not fit.
    """

    ledger: Store = field(repr=False, compare=False)
    name: str
    fingerprint: str
    players: tuple[str, ...]
    columns: tuple[Column, ...]
    utility: str
    details: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.players or len(set(self.players)) != len(self.players):
            raise LedgerError("players must be at least one name, none twice; name each once")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise LedgerError(f"columns must differ in name, got {', '.join(names)}; rename some")
        if self.utility not in names:
            raise LedgerError(
                f"utility must be one of the columns {', '.join(names) or '(none)'}, got"
                f" {self.utility!r}; name one of them"
            )

    def same_as(self, other: Campaign) -> bool:
        """Tells whether two campaigns measure the same thing, however it is described."""
        return (self.fingerprint, self.players, self.columns) == (
            other.fingerprint,
            other.players,
            other.columns,
        )

    def column(self, name: str) -> Column:
        """Returns the column of this name.

        Raises:
            LedgerError: if there is none.
        """
        return find(self.columns, name)

    def missing(
        self, coalitions: Bool[np.ndarray, "B n"], *, retry_failed: bool = False
    ) -> Bool[np.ndarray, "B"]:
        """Tells which coalitions the ledger does not have.

        Args:
            coalitions: rows, True = kept.
            retry_failed: count those that were quarantined as missing.
        """
        absent = (None, "failed") if retry_failed else (None,)
        found = (status in absent for status in self._statuses(coalitions))
        return np.fromiter(found, dtype=bool, count=len(coalitions))

    def statuses(self, coalitions: Bool[np.ndarray, "B n"]) -> list[str | None]:
        """Returns the status of each coalition; None for one that the ledger does not have."""
        return list(self._statuses(coalitions))

    def utilities(
        self, metrics: Mapping[str, Float32[np.ndarray, "B W"]]
    ) -> Float64[np.ndarray, "B"]:
        """Returns the weighted mean of the utility's column times its sign: higher is better.

        Numbers of weight 0 are left out, whatever they are. A row that is not finite has no
        utility: NaN.

        Raises:
            LedgerError: if ``metrics`` lacks the column.
        """
        column = self.column(self.utility)
        if column.name not in metrics:
            raise LedgerError(f"metrics lacks the utility {column.name!r}; give all columns")
        return column.sign * column.mean(as_float32(metrics[column.name]))

    def record(
        self,
        coalitions: Bool[np.ndarray, "B n"],
        metrics: Mapping[str, Float32[np.ndarray, "B W"]],
        worker: str = "",
        seconds: float = 0.0,
    ) -> None:
        """Writes measurements in one transaction; they are on the disk when this returns.

        Inside :meth:`Ledger.transaction` they are on the disk when that block ends. Rows that
        the ledger already has keep their values; only ``times_measured`` counts up. A row with a
        number that is not finite, where its weight is above 0, has the status ``"non-finite"``.

        Args:
            coalitions: rows, True = kept.
            metrics: all columns and no others, one row a coalition.
            worker: who measured.
            seconds: time of the whole batch; each row gets its share.

        Raises:
            LedgerError: if the metrics do not fit the coalitions, or the disk fails.
        """
        rows = self._rows(coalitions)
        check_metrics(self.columns, metrics, len(rows))
        arrays = {column.name: as_float32(metrics[column.name]) for column in self.columns}
        finite = np.all([column.finite(arrays[column.name]) for column in self.columns], axis=0)
        removed = (~rows).sum(axis=1).tolist()
        share, now = seconds / max(len(rows), 1), time.time()
        with self.ledger.transaction() as db:
            layout = self._layout()
            db.executemany(
                UPSERT,
                (
                    (
                        layout,
                        key,
                        gone,
                        "ok" if sound else "non-finite",
                        vectors,
                        worker,
                        share,
                        now,
                    )
                    for key, gone, sound, vectors in zip(
                        sampling.keys(rows),
                        removed,
                        finite.tolist(),
                        pack(self.columns, arrays),
                        strict=True,
                    )
                ),
            )

    def quarantine(self, coalition: Bool[np.ndarray, "n"], worker: str = "") -> None:
        """Marks one coalition as failed, unless it has been measured after all."""
        rows = self._rows(coalition[None, :])
        with self.ledger.transaction() as db:
            db.execute(
                "INSERT INTO measurements VALUES (?, ?, ?, 'failed', NULL, 0, ?, 0.0, ?)"
                " ON CONFLICT (layout, key) DO NOTHING",
                (
                    self._layout(),
                    sampling.keys(rows)[0],
                    int((~rows).sum()),
                    worker,
                    time.time(),
                ),
            )

    def read(self, coalitions: Bool[np.ndarray, "B n"] | None = None) -> Records:
        """Returns measurements: all of them by number of removed players, or those asked for.

        Args:
            coalitions: the rows wanted; the records come in the same order.

        Raises:
            LedgerError: if one of ``coalitions`` is not in the ledger.
        """
        parts = self.batches() if coalitions is None else self._find(self._rows(coalitions))
        return join(list(parts) or [self._records([])])

    def batches(self, size: int = ROWS_A_BATCH) -> Iterator[Records]:
        """Yields all measurements by number of removed players, at most ``size`` at a time."""
        query = f"{SELECT} ORDER BY removed, key"
        for rows in self.ledger.stream(query, (self.fingerprint,), size):
            yield self._records(rows)

    def counts(self) -> Counts:
        """Returns how many coalitions there are of each status."""
        rows = self.ledger.fetch(
            "SELECT status, count(*), sum(times_measured > 1) FROM measurements"
            f" WHERE {OURS} GROUP BY status",
            (self.fingerprint,),
        )
        found = {status: number for status, number, _ in rows}
        return Counts(
            ok=found.get("ok", 0),
            non_finite=found.get("non-finite", 0),
            failed=found.get("failed", 0),
            repeated=sum(row[2] for row in rows),
        )

    def _statuses(self, coalitions: Bool[np.ndarray, "B n"]) -> Iterator[str | None]:
        rows = self._rows(coalitions)
        # Two queries that only read an index: who is there, and who of them is not ok.
        there = f"SELECT key, 'ok' FROM measurements WHERE {OURS}"
        trouble = f"SELECT key, status FROM measurements WHERE {OURS} AND status <> 'ok'"
        for start in range(0, len(rows), KEYS_A_QUERY):
            keys = sampling.keys(rows[start : start + KEYS_A_QUERY])
            known = dict(self._among(there, keys))
            if known:
                known.update(self._among(trouble, keys))
            yield from map(known.get, keys)

    def _find(self, rows: Bool[np.ndarray, "B n"]) -> Iterator[Records]:
        absent: set[bytes] = set()
        for start in range(0, len(rows), KEYS_A_QUERY):
            keys = sampling.keys(rows[start : start + KEYS_A_QUERY])
            found = {row[0]: row for row in self._among(SELECT, keys)}
            absent |= set(keys) - set(found)
            if not absent:
                yield self._records([found[key] for key in keys])
        if absent:
            raise LedgerError(
                f"coalitions has {len(absent)} that campaign {self.name!r} never measured; measure"
                " them first, or leave out those that missing() names"
            )

    def _among(self, select: str, keys: Sequence[bytes]) -> list[tuple[Any, ...]]:
        marks = ", ".join("?" * len(keys))
        return self.ledger.fetch(f"{select} AND key IN ({marks})", (self.fingerprint, *keys))

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> Records:
        metrics = unpack(self.columns, [row[2] for row in rows])
        return Records(
            players=self.players,
            coalitions=sampling.from_keys([row[0] for row in rows], len(self.players)),
            utilities=self.utilities(metrics),
            metrics=metrics,
            columns=self.columns,
            utility=self.utility,
            status=tuple(sys.intern(row[1]) for row in rows),
            times_measured=np.array([row[3] for row in rows], dtype=np.int64),
            seconds=np.array([row[4] for row in rows], dtype=np.float64),
            workers=tuple(sys.intern(row[5]) for row in rows),
        )

    def _layout(self) -> int:
        query = "SELECT id FROM layouts WHERE fingerprint = ?"
        return self.ledger.fetch(query, (self.fingerprint,))[0][0]

    def _rows(self, coalitions: Bool[np.ndarray, "B n"]) -> Bool[np.ndarray, "B n"]:
        rows = np.asarray(coalitions)
        if rows.dtype != np.bool_ or rows.ndim != 2 or rows.shape[1] != len(self.players):
            raise LedgerError(
                f"coalitions must be boolean [B, {len(self.players)}], got {rows.dtype}"
                f" {list(rows.shape)}; pass one row a coalition, True = kept"
            )
        return rows
