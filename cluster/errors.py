"""What can go wrong with a ledger, a cluster or a worker: every message is one line."""

from __future__ import annotations

__all__ = [
    "CampaignMismatch",
    "ClusterUnreachable",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerLocked",
    "WorkerFailed",
    "WorkerRefused",
]


class LedgerError(ValueError):
    """The ledger cannot do what was asked; the message says what to do about it."""


class LedgerLocked(LedgerError):
    """Another process is writing to the same run directory."""


class LedgerCorrupt(LedgerError):
    """The file is not a ledger, or it is damaged. It has not been touched."""


class CampaignMismatch(LedgerError):
    """A campaign of this name was measured on something else."""


class ClusterUnreachable(ValueError):
    """No Ray cluster answers at the given address."""


class WorkerFailed(RuntimeError):
    """The run cannot go on: the evaluator raised an error, or its workers keep dying."""


class WorkerRefused(ValueError):
    """A worker cannot measure what it was given: bad input, a device that is not there."""
