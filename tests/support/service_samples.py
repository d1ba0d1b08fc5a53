"""A small surrogate to serve, a toy that measures, and a server of its own to ask."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI

from layershap.serve.http import MeasuringFailed, Report, Snapshot
from sampling import random_of_sizes, stream
from shapley import Status, Values
from surrogate import SurrogateRegressor

PLAYERS = tuple(f"L{layer}.{part}" for layer in range(4) for part in ("attn", "mlp"))
N = len(PLAYERS)
NAMES: dict[str | int, tuple[int, ...]] = {}
for layer in range(4):
    NAMES[layer] = NAMES[f"L{layer}"] = (2 * layer, 2 * layer + 1)


def utility(rows: np.ndarray) -> np.ndarray:
    """A loss in nats, as a utility: layers differ, and two of them replace each other."""
    gone = ~rows
    return -(2.0 + gone @ np.linspace(0.1, 0.8, N) + 0.5 * (gone[:, 1] & gone[:, 3]))


@cache
def sample(rows: int = 120) -> Snapshot:
    """A snapshot with everything in it."""
    rng = stream(1, "service sample")
    coalitions = np.unique(random_of_sizes(N, rng.integers(0, N + 1, 4 * rows), rng), axis=0)
    coalitions = coalitions[rng.permutation(len(coalitions))[:rows]]
    coalitions = np.unique(np.concatenate([np.ones((1, N), bool), coalitions]), axis=0)
    utilities = utility(coalitions)
    regressor = SurrogateRegressor(folds=3, steps=50).fit(coalitions, utilities)
    values = Values.build(
        PLAYERS,
        np.linspace(0.1, 0.8, N)[::-1].copy(),
        np.full(N, 0.01),
        method="adaptive",
        status=Status.ESTIMATED,
        spent=len(coalitions),
        budget=None,
    )
    interactions = np.zeros((N, N))
    interactions[1, 3] = interactions[3, 1] = -0.5
    interactions[0, 2] = interactions[2, 0] = 0.25
    return Snapshot(
        title="toy",
        players=PLAYERS,
        regressor=regressor,
        coalitions=coalitions,
        utilities=utilities,
        metric="nll",
        unit="nats per token",
        sign=-1,
        names=NAMES,
        values={"shapley": values},
        value_of="retention",
        value_unit="share of the whole model",
        whole_utility=-2.0,
        interactions=interactions,
        recommendations=[recommendation(1, 0.1, 1.1), recommendation(2, 0.3, 1.3)],
        missing={"values": "run layershap values RUN first"},
    )


REPAIRED = {
    "method": "sequential",
    "cost": 0.06,
    "lower": 0.04,
    "upper": 0.08,
    "gain": -0.04,
    "gain_lower": -0.05,
    "gain_upper": -0.03,
    "text": "Python library, calibration files",
    "tokens": 4096,
}


def recommendation(count: int, cost: float, speed: float) -> dict[str, Any]:
    return {
        "count": count,
        "removed": list(PLAYERS[:count]),
        "cost": cost,
        "lower": cost - 0.05,
        "upper": cost + 0.05,
        "perplexity": 9.0,
        "prefill": speed,
        "decoding": None if count == 2 else speed,
        "parameters_saved": 1000 * count,
        "share_saved": 0.1 * count,
        "repaired": REPAIRED if count == 1 else None,
        "best_baseline": None,
        "baseline_cost": None,
        "source": "exhaustive",
        "export": None,
    }


class SampleSource:
    """Hands out a snapshot that a test may exchange."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot or sample()

    def stamp(self) -> Hashable:
        return id(self.snapshot)

    def load(self) -> Snapshot:
        return self.snapshot


class ToyMeasurer:
    """Measures the closed form, one set at a time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.stopped, self.closed = seconds, 0, False

    async def measure(self, rows: np.ndarray, text: str, report: Report) -> Mapping[str, Any]:
        if text == "heldout" and len(rows) == 7:
            raise MeasuringFailed("the toy measures no seven sets on held-out text")
        sets = []
        for row in rows:
            try:
                await asyncio.sleep(self.seconds)
            except asyncio.CancelledError:
                self.stopped += 1
                raise
            value = -float(utility(row[None])[0])
            gone = [PLAYERS[k] for k in np.flatnonzero(~row)]
            cost = value - 2.0
            sets.append({"removed": gone, "value": value, "dense": 2.0, "cost": cost,
                         "lower": None, "upper": None})  # fmt: skip
            report({"done": len(sets), "total": len(rows), "rate": 1.0, "seconds_left": None,
                    "workers": 1})  # fmt: skip
        return {"metric": "nll", "unit": "nats per token", "text": text, "sets": sets}

    async def close(self) -> None:
        self.closed = True


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serves an app on a port of its own and yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the server did not start"
                thread.join(0.02)
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
