"""The surrogate over HTTP: a FastAPI app over anything that hands it snapshots."""

from __future__ import annotations

from surrogate.service.app import create_app
from surrogate.service.errors import ServiceError
from surrogate.service.jobs import Measurer, MeasuringFailed, Report
from surrogate.service.limits import Limits
from surrogate.service.snapshot import Snapshot, Source

__all__ = [
    "Limits",
    "Measurer",
    "MeasuringFailed",
    "Report",
    "ServiceError",
    "Snapshot",
    "Source",
    "create_app",
]
