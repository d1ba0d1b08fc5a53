"""The surrogate over HTTP: a FastAPI app over anything that hands it snapshots."""

from __future__ import annotations

from layershap.serve.http.app import create_app
from layershap.serve.http.errors import ServiceError
from layershap.serve.http.jobs import Measurer, MeasuringFailed, Report
from layershap.serve.http.limits import Limits
from layershap.serve.http.snapshot import Snapshot, Source

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
