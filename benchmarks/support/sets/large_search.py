"""How long all searches take together on a surrogate of 64 players."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.support.report_bars import Bar
from sampling import campaign_design
from sampling.streams import stream
from shapley.search import propose
from surrogate import SurrogateGame, SurrogateRegressor

__all__ = ["bars", "large_search"]

PLAYERS, MEASURED = 64, 1000
COUNTS = tuple(range(1, PLAYERS // 2 + 1))
SECONDS = 60.0


def large_search(seed: int = 0) -> dict[str, Any]:
    """Fits the surrogate to a game with costs, pairs and triples, and searches every count."""
    rows = campaign_design(PLAYERS, MEASURED, COUNTS[-1], seed).coalitions
    rng = stream(seed, "large search")
    costs = rng.gamma(2.0, 0.05, PLAYERS)
    costs[0] = 2.0
    pairs = np.triu(rng.normal(0, 0.02, (PLAYERS, PLAYERS)), 1)
    removed = (~rows).astype(np.float64)
    damage = removed @ costs + ((removed @ pairs) * removed).sum(axis=1)
    damage += 0.05 * (removed[:, :-2] * removed[:, 1:-1] * removed[:, 2:]).sum(axis=1)
    utilities = -8.0 * (1 - np.exp(-damage / 8.0))
    began = time.perf_counter()
    regressor = SurrogateRegressor(seed=seed).fit(rows, utilities)
    fitting = time.perf_counter() - began
    game = SurrogateGame(regressor, tuple(f"p{i}" for i in range(PLAYERS)))
    asked = _Counted(game)
    asked(rng.random((65_536, PLAYERS)) < 0.75)
    began = time.perf_counter()
    asked(rng.random((65_536, PLAYERS)) < 0.75)
    rate = 65_536 / (time.perf_counter() - began)
    asked.rows = 0
    began = time.perf_counter()
    found = propose(asked, COUNTS, seed)
    seconds = time.perf_counter() - began
    print(
        f"{PLAYERS} players, counts 1 to {COUNTS[-1]}: fitted in {fitting:.1f} s, searched in"
        f" {seconds:.1f} s with {asked.rows:,} predictions ({rate:,.0f} a second at once)",
        flush=True,
    )
    return {
        "fitting_seconds": fitting,
        "seconds": seconds,
        "predictions": asked.rows,
        "predictions_a_second": rate,
        "counts": len(found),
    }


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """The time of the whole search."""
    name = f"{PLAYERS} players, {len(COUNTS)} counts: seconds of all searches on the surrogate"
    return [Bar(name, found["seconds"], f"< {SECONDS:g}", found["seconds"] < SECONDS)]


class _Counted:
    """A game that counts what it is asked."""

    def __init__(self, game: SurrogateGame) -> None:
        self.game, self.players, self.rows = game, game.players, 0

    def __call__(self, coalitions: np.ndarray, /) -> np.ndarray:
        self.rows += len(coalitions)
        return self.game(coalitions)
