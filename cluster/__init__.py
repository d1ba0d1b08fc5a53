"""Measuring a game on Ray actors, with a ledger that no crash can hurt.

Importing this package does not import Ray: reading a ledger needs none.
"""

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
