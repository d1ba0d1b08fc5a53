"""Measuring a game on Ray actors, with a ledger that no crash can hurt.

Importing this package does not import Ray: reading a ledger needs none.
"""

from cluster.actors import Evaluator, Factory
from cluster.campaign import Campaign
from cluster.columns import Column
from cluster.crew import Crew
from cluster.driver import measure
from cluster.errors import (
    CampaignMismatch,
    ClusterUnreachable,
    LedgerCorrupt,
    LedgerError,
    LedgerLocked,
    WorkerFailed,
    WorkerRefused,
)
from cluster.ledger import Event, Ledger
from cluster.outcome import Progress, Summary
from cluster.records import Counts, Records
from cluster.schedule import contiguous_runs
from cluster.session import Session, connect
from cluster.table import export_table

__all__ = [
    "Campaign",
    "CampaignMismatch",
    "ClusterUnreachable",
    "Column",
    "Counts",
    "Crew",
    "Evaluator",
    "Event",
    "Factory",
    "Ledger",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerLocked",
    "Progress",
    "Records",
    "Session",
    "Summary",
    "WorkerFailed",
    "WorkerRefused",
    "connect",
    "contiguous_runs",
    "export_table",
    "measure",
]
