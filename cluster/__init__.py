"""Measuring a game on Ray actors, with a ledger that no crash can hurt.

Importing this package does not import Ray: reading a ledger needs none.
"""

from cluster.actors import Evaluator, Factory
from cluster.campaign import Campaign
from cluster.crew import Crew
from cluster.driver import measure
from cluster.errors import (
    CampaignMismatch,
    ClusterUnreachable,
    LedgerCorrupt,
    LedgerError,
    LedgerLocked,
    WorkerFailed,
)
from cluster.ledger import Event, Ledger
from cluster.outcome import Progress, Summary
from cluster.records import Counts, Records
from cluster.schedule import contiguous_runs
from cluster.session import Session, connect

__all__ = [
    "Campaign",
    "CampaignMismatch",
    "ClusterUnreachable",
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
    "connect",
    "contiguous_runs",
    "measure",
]
