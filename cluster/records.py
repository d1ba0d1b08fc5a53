"""What a campaign hands to its readers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

__all__ = ["METRICS", "Counts", "Records"]

METRICS = ("nll", "kl", "top1")


@dataclass(frozen=True, eq=False)
class Records:
    """Measurements of ``m`` coalitions on ``S`` sequences.

    Attributes:
        players: names in depth order.
        coalitions: rows, True = kept.
        utilities: minus the token-weighted mean loss in nats a token; NaN unless ``ok``.
        nll: loss by sequence, nats a token, as the model gave it; NaN where it was set aside.
        kl: divergence from the dense model by sequence; NaN where it was not measured.
        top1: agreement with the dense model by sequence; NaN where it was not measured.
        status: ``"ok"``, ``"non-finite"`` or ``"failed"``, one a coalition.
        times_measured: 1 for each measured coalition, unless something was measured twice.
        seconds: time each coalition took on its worker.
        sequence_tokens: the weights of the sequences.
    """

    players: tuple[str, ...]
    coalitions: Bool[np.ndarray, "m n"]
    utilities: Float64[np.ndarray, "m"]
    nll: Float32[np.ndarray, "m S"]
    kl: Float32[np.ndarray, "m S"]
    top1: Float32[np.ndarray, "m S"]
    status: tuple[str, ...]
    times_measured: Int64[np.ndarray, "m"]
    seconds: Float64[np.ndarray, "m"]
    sequence_tokens: Int64[np.ndarray, "S"]

    def __len__(self) -> int:
        return len(self.status)

    @property
    def ok(self) -> Bool[np.ndarray, "m"]:
        """Tells which coalitions have a utility."""
        return np.isfinite(self.utilities)


@dataclass(frozen=True)
class Counts:
    """How many coalitions of a campaign are in the ledger.

    Attributes:
        ok: with a utility.
        non_finite: measured, but the loss is NaN or infinite.
        failed: set aside because they killed their workers.
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
