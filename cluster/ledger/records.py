"""What a campaign hands to its readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from cluster.ledger.columns import Column, find

__all__ = ["Counts", "Records", "join"]


@dataclass(frozen=True, eq=False)
class Records:
    """Measurements of ``m`` coalitions.

    Attributes:
        players: names in depth order.
        coalitions: rows, True = kept.
        utilities: the weighted mean of the utility's column, times its sign; higher is better. NaN
            where it is not finite or was quarantined.
        metrics: by column, one row a coalition, as the model gave them; NaN where quarantined.
        columns: names, weights and signs of the metrics.
        utility: name of the column that decides.
        status: ``"ok"``, ``"non-finite"`` or ``"failed"``, one a coalition.
        times_measured: 1 for each measured coalition, unless something was measured twice.
        seconds: time each coalition took on its worker.
        workers: who measured each.
    """

    players: tuple[str, ...]
    coalitions: Bool[np.ndarray, "m n"]
    utilities: Float64[np.ndarray, "m"]
    metrics: Mapping[str, Float32[np.ndarray, "m W"]]
    columns: tuple[Column, ...]
    utility: str
    status: tuple[str, ...]
    times_measured: Int64[np.ndarray, "m"]
    seconds: Float64[np.ndarray, "m"]
    workers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.status)

    @property
    def ok(self) -> Bool[np.ndarray, "m"]:
        """Tells which coalitions have a utility, whatever their other columns hold."""
        return np.isfinite(self.utilities)

    @property
    def vectors(self) -> Float64[np.ndarray, "m W"]:
        """The utility's column times its sign, by sequence or item; higher is better."""
        column = find(self.columns, self.utility)
        return column.sign * self.metrics[column.name].astype(np.float64)

    @property
    def weights(self) -> Int64[np.ndarray, "W"]:
        """Weights of :attr:`vectors` in the utility."""
        return np.array(find(self.columns, self.utility).weights, dtype=np.int64)

    def mean(self, name: str) -> Float64[np.ndarray, "m"]:
        """Returns the weighted mean of a column as it was measured; NaN unless it is finite.

        Raises:
            LedgerError: if there is no column of this name.
        """
        return find(self.columns, name).mean(self.metrics[name])


@dataclass(frozen=True)
class Counts:
    """How many coalitions of a campaign are in the ledger.

    Attributes:
        ok: every column is finite.
        non_finite: measured, but a column has a NaN or an infinite number.
        failed: quarantined because they killed their workers.
        repeated: measured more than once; 0 unless something is wrong.
    """

    ok: int
    non_finite: int
    failed: int
    repeated: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.ok + self.non_finite + self.failed


def join(parts: Sequence[Records]) -> Records:
    """Returns the records of all parts, which belong to one campaign, in their order."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        coalitions=np.concatenate([part.coalitions for part in parts]),
        utilities=np.concatenate([part.utilities for part in parts]),
        metrics={
            name: np.concatenate([part.metrics[name] for part in parts])
            for name in parts[0].metrics
        },
        status=tuple(status for part in parts for status in part.status),
        times_measured=np.concatenate([part.times_measured for part in parts]),
        seconds=np.concatenate([part.seconds for part in parts]),
        workers=tuple(worker for part in parts for worker in part.workers),
    )
