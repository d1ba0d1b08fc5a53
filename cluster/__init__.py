"""Measuring a game on Ray actors, with a ledger that no crash can hurt.

Importing this package does not import Ray: reading a ledger needs none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.errors import (
        CampaignMismatch,
        ClusterUnreachable,
        LedgerCorrupt,
        LedgerError,
        LedgerLocked,
        WorkerFailed,
        WorkerRefused,
    )
    from cluster.ledger.campaign import Campaign
    from cluster.ledger.columns import Column
    from cluster.ledger.export import export_table
    from cluster.ledger.ledger import Ledger
    from cluster.ledger.records import Counts, Records
    from cluster.ledger.store import Event
    from cluster.scheduler.measure import measure
    from cluster.scheduler.policy import Policy
    from cluster.scheduler.pool import WorkerPool
    from cluster.scheduler.session import Session, connect
    from cluster.scheduler.summary import Progress, Summary
    from cluster.scheduler.worker import Evaluator, Factory

__all__ = [
    "Campaign",
    "CampaignMismatch",
    "ClusterUnreachable",
    "Column",
    "Counts",
    "Evaluator",
    "Event",
    "Factory",
    "Ledger",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerLocked",
    "Policy",
    "Progress",
    "Records",
    "Session",
    "Summary",
    "WorkerFailed",
    "WorkerPool",
    "WorkerRefused",
    "connect",
    "export_table",
    "measure",
]

# Whoever reads a ledger needs no scheduler.
_HOMES = {
    "Campaign": "ledger.campaign",
    "CampaignMismatch": "errors",
    "ClusterUnreachable": "errors",
    "Column": "ledger.columns",
    "Counts": "ledger.records",
    "Evaluator": "scheduler.worker",
    "Event": "ledger.store",
    "Factory": "scheduler.worker",
    "Ledger": "ledger.ledger",
    "LedgerCorrupt": "errors",
    "LedgerError": "errors",
    "LedgerLocked": "errors",
    "Policy": "scheduler.policy",
    "Progress": "scheduler.summary",
    "Records": "ledger.records",
    "Session": "scheduler.session",
    "Summary": "scheduler.summary",
    "WorkerFailed": "errors",
    "WorkerPool": "scheduler.pool",
    "WorkerRefused": "errors",
    "connect": "scheduler.session",
    "export_table": "ledger.export",
    "measure": "scheduler.measure",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return __all__
