"""Routes that tell what a run has found: values, interactions, recommendations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from layershap.serve.http import requests, schemas
from layershap.serve.http.errors import ServiceError
from layershap.serve.http.predictor import Predictor
from layershap.serve.http.reading import read_player
from layershap.serve.http.service import Service
from layershap.serve.http.snapshot import Snapshot
from shapley import Values as ShapleyValues

__all__ = ["finding_routes", "passes"]

MOST_PAIRS = 1_000_000


class ValuesAsked(BaseModel):
    """Which values, in which order."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["shapley", "restricted"] | None = Field(
        default=None,
        description="Over all sets, or while only few players are removed; what the run shows"
        " first when omitted.",
    )
    order: Literal["depth", "value"] = Field(
        default="depth", description="By depth in the model, or the least valuable first."
    )


class PairsAsked(BaseModel):
    """How many pairs."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=MOST_PAIRS, ge=1, le=MOST_PAIRS, description="Most pairs.")
    player: str | None = Field(default=None, description="Only pairs with it, by name or number.")


def finding_routes(service: Service) -> APIRouter:
    """Returns the routes of a service."""
    router = APIRouter(tags=["findings"])

    @router.get("/values", response_model=schemas.Values)
    async def values(asked: Annotated[ValuesAsked, Query()]) -> Any:
        """Values of retention, or of the raw loss, with standard errors and 95 % intervals."""
        shot = service.oracle.snapshot
        kind = asked.kind or shot.shown
        found = shot.values.get(kind)
        if found is None:
            raise _missing(shot, "values")
        return _values(shot, kind, asked.order, found)

    @router.get("/interactions", response_model=schemas.Interactions)
    async def interactions(asked: Annotated[PairsAsked, Query()]) -> Any:
        """Pairwise Shapley interactions, the strongest first."""
        oracle = service.oracle
        shot = oracle.snapshot
        if shot.interactions is None:
            raise _missing(shot, "interactions")
        first, second = np.triu_indices(len(shot.players), 1)
        if asked.player is not None:
            wanted = _player(oracle, asked.player)
            chosen = np.isin(first, wanted) | np.isin(second, wanted)
            first, second = first[chosen], second[chosen]
        strength = shot.interactions[first, second]
        there = np.isfinite(strength)
        order = np.argsort(-np.abs(strength[there]), kind="stable")
        first, second, strength = first[there][order], second[there][order], strength[there][order]
        errors = shot.interaction_errors
        spread = np.zeros_like(strength) if errors is None else errors[first, second]
        return {
            "value_of": shot.value_of,
            "unit": shot.value_unit,
            "total": len(strength),
            "interactions": [
                {
                    "first": shot.players[first[k]],
                    "second": shot.players[second[k]],
                    "interaction": float(strength[k]),
                    "standard_error": _number(spread[k]),
                }
                for k in range(min(asked.limit, len(strength)))
            ],
        }

    @router.get("/recommendations", response_model=schemas.Recommendations)
    async def recommendations(asked: Annotated[requests.Filters, Query()]) -> Any:
        """Sets that were verified on held-out text, with measured speed."""
        oracle = service.oracle
        shot = oracle.snapshot
        if shot.recommendations is None:
            raise _missing(shot, "recommendations")
        wanted: set[str] = set()
        if asked.containing is not None:
            wanted = {shot.players[k] for k in _player(oracle, asked.containing, "containing")}
        chosen = [
            item
            for item in shot.recommendations
            if passes(item, asked) and wanted <= set(item["removed"])
        ]
        return {"total": len(shot.recommendations), "recommendations": chosen}

    return router


def passes(item: Mapping[str, Any], asked: requests.Filters) -> bool:
    """Returns whether a recommendation passes; what was not measured passes no filter of it."""
    cost = item["upper"] if asked.certain else item["cost"]
    bounds = [
        (item["count"], asked.count, asked.count),
        (item["count"], None, asked.most_count),
        (cost, None, asked.max_cost),
        (item["prefill"], asked.min_prefill, None),
        (item["decoding"], asked.min_decoding, None),
        (item["share_saved"], asked.min_saved, None),
    ]
    return all(_within(*bound) for bound in bounds)


def _within(number: float | None, least: float | None, most: float | None) -> bool:
    if least is None and most is None:
        return True
    return (
        number is not None
        and (least is None or number >= least)
        and (most is None or number <= most)
    )


def _values(shot: Snapshot, kind: str, wanted: str, found: ShapleyValues) -> dict[str, Any]:
    numbers = np.asarray(found.values, dtype=float)
    order = np.argsort(numbers, kind="stable")
    rank = np.empty(len(numbers), dtype=int)
    rank[order] = np.arange(1, len(numbers) + 1)
    columns = [
        np.asarray(c, dtype=float) for c in (found.standard_errors, found.lower, found.upper)
    ]
    rows = [
        {
            "player": shot.players[place],
            "value": float(numbers[place]),
            "standard_error": _number(columns[0][place]),
            "lower": _number(columns[1][place]),
            "upper": _number(columns[2][place]),
            "rank": int(rank[place]),
        }
        for place in (order if wanted == "value" else range(len(numbers)))
    ]
    return {
        "kind": kind,
        "method": found.method,
        "status": found.status.name,
        "value_of": shot.value_of,
        "whole_utility": shot.whole_utility,
        "unit": shot.value_unit,
        "evaluations": found.spent,
        "values": rows,
    }


def _player(oracle: Predictor, given: str, field: str = "player") -> tuple[int, ...]:
    numeric = given.isascii() and given.isdigit() and len(given) < 10
    return read_player(
        oracle, int(given) if numeric and given not in oracle.names else given, field
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _missing(shot: Snapshot, what: str) -> ServiceError:
    remedy = shot.missing.get(what, "they were not computed")
    return ServiceError(404, "not_available", f"{what}: are not there yet; {remedy}", what)
