"""Routes that ask the surrogate: one set, many sets, and the sets one step away."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter
from pydantic_core import to_json
from starlette.responses import Response

from layershap.api.answering import Answers
from layershap.serve.http import requests, schemas
from layershap.serve.http.predictor import Predictor, Step, steps_from
from layershap.serve.http.reading import read_many, read_one
from layershap.serve.http.service import Service

__all__ = ["predict_routes"]

KINDS = {"removal": "removals", "return": "returns", "swap": "swaps"}


def predict_routes(service: Service) -> APIRouter:
    """Returns the routes of a service."""
    router = APIRouter(tags=["predictions"])

    @router.post("/predict", response_model=schemas.Prediction)
    async def predict(asked: requests.Asked) -> Response:
        """Predict what the model measures without a set of players, on the calibration text."""
        oracle = service.oracle
        rows = read_one(oracle, asked)[None]
        answers = await service.answers(oracle, rows, asked.level)
        return _json(oracle.prediction(rows[0], answers, 0, asked.level).to_dict())

    @router.post("/predict/many", response_model=schemas.Predictions)
    async def predict_many(asked: requests.ManyAsked) -> Response:
        """Predict many sets at once."""
        oracle = service.oracle
        forms = ("remove", "keep", "kept", "packed")
        rows = read_many(oracle, asked, service.limits.sets, forms)
        answers = await service.answers(oracle, rows, asked.level)
        known = np.flatnonzero(~np.isnan(answers.measured))
        return _json(
            {
                "count": len(rows),
                "value": answers.value.tolist(),
                "lower": None if answers.lower is None else answers.lower.tolist(),
                "upper": None if answers.upper is None else answers.upper.tolist(),
                "measured_rows": known.tolist(),
                "measured": answers.measured[known].tolist(),
                **_common(oracle, asked.level),
            }
        )

    @router.post("/neighbours", response_model=schemas.Neighbours)
    async def neighbours(asked: requests.NeighboursAsked) -> Response:
        """Name the best next removals, returns and swaps from a set."""
        oracle = service.oracle
        start = read_one(oracle, asked)
        steps, rows = steps_from(start)
        answers = await service.answers(oracle, np.concatenate([start[None], rows]), asked.level)
        best = np.where(np.isnan(answers.measured), answers.value, answers.measured)
        change = oracle.cost(best) - oracle.cost(best[:1])
        found: dict[str, list[Any]] = {name: [] for name in KINDS.values()}
        for place in np.argsort(change[1:], kind="stable"):
            step = steps[place]
            listed = found[KINDS[step.kind]]
            if len(listed) < asked.limit:
                one = _numbers(answers, int(place) + 1)
                listed.append({**_named(oracle, step), **one, "change": change[place + 1]})
        here = oracle.prediction(start, answers, 0, asked.level)
        return _json({"start": here.to_dict(), **found})

    return router


def _numbers(answers: Answers, place: int) -> dict[str, float | None]:
    measured = float(answers.measured[place])
    return {
        "value": float(answers.value[place]),
        "lower": None if answers.lower is None else float(answers.lower[place]),
        "upper": None if answers.upper is None else float(answers.upper[place]),
        "measured": None if np.isnan(measured) else measured,
    }


def _common(oracle: Predictor, level: float) -> dict[str, Any]:
    return {"dense": oracle.dense, "metric": oracle.metric, "unit": oracle.unit, "level": level}


def _named(oracle: Predictor, step: Step) -> dict[str, str | None]:
    players = oracle.players
    return {
        "remove": None if step.remove is None else players[step.remove],
        "restore": None if step.restore is None else players[step.restore],
    }


def _json(content: dict[str, Any]) -> Response:
    return Response(to_json(content), media_type="application/json")
