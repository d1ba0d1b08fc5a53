"""What was measured, in one SQLite file that no crash can hurt. Never imports Ray."""

from cluster.ledger.campaign import Campaign
from cluster.ledger.columns import Column
from cluster.ledger.export import export_table
from cluster.ledger.ledger import Ledger
from cluster.ledger.records import Counts, Records
from cluster.ledger.store import Event

__all__ = ["Campaign", "Column", "Counts", "Event", "Ledger", "Records", "export_table"]
