"""A campaign: one text measured on one model, and what the ledger knows about it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, Float64

import sampling
from cluster.errors import LedgerError
from cluster.records import METRICS, Counts, Records

if TYPE_CHECKING:
    from cluster.ledger import Ledger

__all__ = ["Campaign"]

KEYS_A_QUERY = 500  # below SQLite's smallest limit on host parameters
# A row that holds values keeps them; being written again only shows in its counter. A row that
# was set aside holds no values, so a later measurement fills it.
UPSERT = """
INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)
ON CONFLICT (fingerprint, key) DO UPDATE SET
    times_measured = times_measured + 1,
    status = CASE WHEN status = 'failed' THEN excluded.status ELSE status END,
    utility = CASE WHEN status = 'failed' THEN excluded.utility ELSE utility END,
    nll = CASE WHEN status = 'failed' THEN excluded.nll ELSE nll END,
    kl = CASE WHEN status = 'failed' THEN excluded.kl ELSE kl END,
    top1 = CASE WHEN status = 'failed' THEN excluded.top1 ELSE top1 END,
    worker = CASE WHEN status = 'failed' THEN excluded.worker ELSE worker END,
    seconds = CASE WHEN status = 'failed' THEN excluded.seconds ELSE seconds END,
    created = CASE WHEN status = 'failed' THEN excluded.created ELSE created END
"""


@dataclass(frozen=True)
class Campaign:
    """A handle on one campaign of a ledger; get it from :meth:`cluster.Ledger.open_campaign`.

    Attributes:
        ledger: where its measurements are.
        name: for example ``"calibration"``.
        fingerprint: content hash of everything that decides a measurement.
        players: names in depth order, ``n`` of them.
        sequence_tokens: tokens in each of the ``S`` sequences, the weights of the utility.
        details: what the fingerprint was made of, in words.

    Raises:
        LedgerError: if there are no players, or no sequence with a token.
    """

    ledger: Ledger = field(repr=False, compare=False)
    name: str
    fingerprint: str
    players: tuple[str, ...]
    sequence_tokens: tuple[int, ...]
    details: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.players or len(set(self.players)) != len(self.players):
            raise LedgerError("players must be at least one name, none twice; name each once")
        if min(self.sequence_tokens, default=0) < 0 or sum(self.sequence_tokens) == 0:
            raise LedgerError(
                "sequence_tokens must be counts of at least 0 with one above 0; give each"
                " sequence's number of predicted tokens"
            )

    def same_as(self, other: Campaign) -> bool:
        """Tells whether two campaigns measure the same thing, however it is described."""
        return (self.fingerprint, self.players, self.sequence_tokens) == (
            other.fingerprint,
            other.players,
            other.sequence_tokens,
        )

    def missing(
        self, coalitions: Bool[np.ndarray, "B n"], *, retry_failed: bool = False
    ) -> Bool[np.ndarray, "B"]:
        """Tells which coalitions the ledger does not have.

        Args:
            coalitions: rows, True = kept.
            retry_failed: count those that were set aside as missing.
        """
        absent = (None, "failed") if retry_failed else (None,)
        return np.array([status in absent for status in self.statuses(coalitions)], dtype=bool)

    def statuses(self, coalitions: Bool[np.ndarray, "B n"]) -> list[str | None]:
        """Returns the status of each coalition; None for one that the ledger does not have."""
        known: dict[bytes, str] = dict(
            self.ledger.fetch(
                "SELECT key, status FROM measurements WHERE fingerprint = ?", (self.fingerprint,)
            )
        )
        return [known.get(key) for key in sampling.keys(self._rows(coalitions))]

    def utilities(self, nll: Float32[np.ndarray, "B S"]) -> Float64[np.ndarray, "B"]:
        """Returns minus the token-weighted mean of ``nll``, in nats a token, in double precision.

        Sequences without tokens are left out, whatever their values. A row that is not finite
        has no utility: NaN.
        """
        weights = np.asarray(self.sequence_tokens, dtype=np.float64)
        used = weights > 0
        values = nll[:, used].astype(np.float64)
        finite = np.isfinite(values).all(axis=1)
        result = np.full(len(values), np.nan)
        result[finite] = -(values[finite] @ weights[used]) / weights.sum()
        return result

    def record(
        self,
        coalitions: Bool[np.ndarray, "B n"],
        metrics: Mapping[str, Float32[np.ndarray, "B S"]],
        worker: str = "",
        seconds: float = 0.0,
    ) -> None:
        """Writes measurements in one transaction; they are on the disk when this returns.

        Rows that the ledger already has keep their values; only ``times_measured`` counts up.
        A row whose loss is not finite is kept with the status ``"non-finite"`` and no utility.

        Args:
            coalitions: rows, True = kept.
            metrics: ``"nll"`` and, if known, ``"kl"`` and ``"top1"``, each by sequence.
            worker: who measured.
            seconds: time of the whole batch; each row gets its share.

        Raises:
            LedgerError: if the metrics do not fit the coalitions, or the disk fails.
        """
        rows = self._rows(coalitions)
        self._check(metrics, len(rows))
        arrays = {name: _float32(values) for name, values in metrics.items()}
        utilities = self.utilities(arrays["nll"]).tolist()
        blobs = [
            [row.tobytes() for row in arrays[name]] if name in arrays else [None] * len(rows)
            for name in METRICS
        ]
        removed = (~rows).sum(axis=1).tolist()
        share, now = seconds / max(len(rows), 1), time.time()
        values = [
            (
                self.fingerprint,
                key,
                gone,
                "ok" if utility == utility else "non-finite",
                utility if utility == utility else None,
                *vectors,
                worker,
                share,
                now,
            )
            for key, gone, utility, *vectors in zip(
                sampling.keys(rows), removed, utilities, *blobs, strict=True
            )
        ]
        with self.ledger.transaction() as db:
            db.executemany(UPSERT, values)

    def set_aside(self, coalition: Bool[np.ndarray, "n"], worker: str = "") -> None:
        """Marks one coalition as failed, unless it has been measured after all."""
        rows = self._rows(coalition[None, :])
        with self.ledger.transaction() as db:
            db.execute(
                "INSERT INTO measurements VALUES"
                " (?, ?, ?, 'failed', NULL, NULL, NULL, NULL, 0, ?, 0.0, ?)"
                " ON CONFLICT (fingerprint, key) DO NOTHING",
                (
                    self.fingerprint,
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
        columns = f"key, status, utility, {', '.join(METRICS)}, times_measured, seconds"
        select = f"SELECT {columns} FROM measurements WHERE fingerprint = ?"
        if coalitions is None:
            rows = self.ledger.fetch(f"{select} ORDER BY removed, key", (self.fingerprint,))
        else:
            rows = self._find(select, sampling.keys(self._rows(coalitions)))
        kept = sampling.from_keys([row[0] for row in rows], len(self.players))
        vectors = {
            name: self._unpack([row[3 + place] for row in rows])
            for place, name in enumerate(METRICS)
        }
        return Records(
            players=self.players,
            coalitions=kept,
            utilities=np.array([np.nan if row[2] is None else row[2] for row in rows], np.float64),
            **vectors,
            status=tuple(row[1] for row in rows),
            times_measured=np.array([row[-2] for row in rows], dtype=np.int64),
            seconds=np.array([row[-1] for row in rows], dtype=np.float64),
            sequence_tokens=np.array(self.sequence_tokens, dtype=np.int64),
        )

    def counts(self) -> Counts:
        """Returns how many coalitions there are of each status."""
        rows = self.ledger.fetch(
            "SELECT status, count(*), sum(times_measured > 1) FROM measurements"
            " WHERE fingerprint = ? GROUP BY status",
            (self.fingerprint,),
        )
        found = {status: number for status, number, _ in rows}
        return Counts(
            ok=found.get("ok", 0),
            non_finite=found.get("non-finite", 0),
            failed=found.get("failed", 0),
            repeated=sum(row[2] for row in rows),
        )

    def _find(self, select: str, keys: list[bytes]) -> list[tuple[Any, ...]]:
        found: dict[bytes, tuple[Any, ...]] = {}
        for start in range(0, len(keys), KEYS_A_QUERY):
            part = keys[start : start + KEYS_A_QUERY]
            marks = ", ".join("?" * len(part))
            for row in self.ledger.fetch(
                f"{select} AND key IN ({marks})", (self.fingerprint, *part)
            ):
                found[row[0]] = row
        if absent := len(set(keys) - set(found)):
            raise LedgerError(
                f"coalitions has {absent} that campaign {self.name!r} never measured; measure them"
                " first, or leave out those that missing() names"
            )
        return [found[key] for key in keys]

    def _unpack(self, blobs: Sequence[bytes | None]) -> Float32[np.ndarray, "m S"]:
        width = len(self.sequence_tokens)
        absent = np.full(width, np.nan, dtype="<f4").tobytes()
        joined = b"".join(absent if blob is None else blob for blob in blobs)
        return np.frombuffer(joined, dtype="<f4").reshape(len(blobs), width).astype(np.float32)

    def _rows(self, coalitions: Bool[np.ndarray, "B n"]) -> Bool[np.ndarray, "B n"]:
        rows = np.asarray(coalitions)
        if rows.dtype != np.bool_ or rows.ndim != 2 or rows.shape[1] != len(self.players):
            raise LedgerError(
                f"coalitions must be boolean [B, {len(self.players)}], got {rows.dtype}"
                f" {list(rows.shape)}; pass one row a coalition, True = kept"
            )
        return rows

    def _check(self, metrics: Mapping[str, Float32[np.ndarray, "B S"]], size: int) -> None:
        if "nll" not in metrics or not set(metrics) <= set(METRICS):
            raise LedgerError(
                f"metrics has {', '.join(sorted(metrics)) or 'nothing'}; give nll and, if known,"
                f" {' and '.join(METRICS[1:])}"
            )
        wanted = (size, len(self.sequence_tokens))
        for name, values in metrics.items():
            if np.shape(values) != wanted:
                raise LedgerError(
                    f"metrics[{name!r}] must have shape {list(wanted)}, got"
                    f" {list(np.shape(values))}; give one number a coalition and sequence"
                )


def _float32(values: Float32[np.ndarray, "B S"]) -> Float32[np.ndarray, "B S"]:
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is then reported
        return np.ascontiguousarray(values, dtype="<f4")
