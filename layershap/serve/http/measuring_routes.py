"""Routes that measure sets on the real model: asked for, looked at, taken back."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from layershap.serve.http import requests, schemas
from layershap.serve.http.errors import ServiceError
from layershap.serve.http.jobs import JobQueue
from layershap.serve.http.reading import read_many
from layershap.serve.http.service import Service

__all__ = ["measuring_routes"]

Id = Annotated[str, Path(max_length=64, description="Of the measurement.")]


def measuring_routes(service: Service) -> APIRouter:
    """Returns the routes of a service."""
    router = APIRouter(prefix="/measurements", tags=["measurements"])

    @router.post("", status_code=202, response_model=schemas.Job)
    async def measure(asked: requests.MeasurementAsked, response: Response) -> Any:
        """Measure sets on the real model. The answer's Location tells where to look."""
        oracle, board = service.oracle, _board(service)
        rows = read_many(oracle, asked, service.limits.measured_sets, ("remove", "keep"))
        if not len(rows):
            raise ServiceError(422, "invalid_field", "remove: must hold at least one set", "remove")
        job = board.add(rows, asked.text)
        response.headers["location"] = f"/measurements/{job.id}"
        return job.as_json()

    @router.get("", response_model=schemas.Jobs)
    async def measurements() -> Any:
        """List measurements, the newest first."""
        return {"jobs": [job.as_json() for job in _board(service).jobs]}

    @router.get("/{id}", response_model=schemas.Job)
    async def measurement(id: Id) -> Any:
        """Tell how far a measurement is, and what it found."""
        return _board(service).get(id).as_json()

    @router.delete("/{id}", response_model=schemas.Job)
    async def cancel(id: Id) -> Any:
        """Take a measurement back. What it has measured until then is kept."""
        board = _board(service)
        job = board.get(id)
        board.cancel(job)
        return job.as_json()

    return router


def _board(service: Service) -> JobQueue:
    if service.board is None:
        raise ServiceError(
            409,
            "measuring_off",
            "measurements: nothing measures here; start the service without --no-measuring",
        )
    return service.board
