"""Sets that a search finds in games whose best sets are known, because every one was measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.support.report_bars import Bar
from sampling import enumerate_all, without
from shapley import TableGame, exact_values, greedy_removal
from shapley.baselines import in_order
from shapley.estimator import advance, start
from shapley.search import Limits, SetSearch
from surrogate.baselines.cooperative_game import cooperative_game
from surrogate.process.belief import ProcessLearner

__all__ = ["SHARE", "bars", "known_optima"]

SHARE = 0.15
PUBLISHED_SEEDS = 3
HIT = 1e-12


@dataclass(frozen=True)
class _Optima:
    """The best utility of every count."""

    game: TableGame
    best: Mapping[int, float]

    def regrets(self, sets: Mapping[int, tuple[int, ...]]) -> list[float]:
        """How far below the best each set is, in units of the utility."""
        n = len(self.game.players)
        return [
            best - float(self.game(without(n, sets[count])[None])[0])
            for count, best in self.best.items()
        ]


def known_optima(
    tables: Mapping[str, Float[np.ndarray, "M"]], seeds: int
) -> dict[str, dict[str, Any]]:
    """Searches every table with 15 % of its coalitions, for each count up to half of the players.

    Beside it: the players of the least exact Shapley value, greedy removal with all the
    evaluations that it needs, and the parent paper's method as published with as many evaluations
    as the search may use.

    Returns:
        by table: ``regrets`` by method, one list a seed with one number a count, ``evaluations``
        and ``seconds`` of the search.
    """
    found = {}
    for name, table in tables.items():
        found[name] = _one(table, seeds)
        ours = found[name]["regrets"]["search"]
        print(
            f"{name:<14} {found[name]['players']} players: all counts best in"
            f" {sum(max(one) <= HIT for one in ours)} of {len(ours)} seeds with"
            f" {np.mean(found[name]['evaluations']):.0f} evaluations"
            f" ({100 * np.mean(found[name]['evaluations']) / len(table):.1f} %),"
            f" {np.mean(found[name]['seconds']):.1f} s; "
            + ", ".join(
                f"{method} misses by up to {max(max(one) for one in regrets):.3f}"
                for method, regrets in found[name]["regrets"].items()
                if method != "search"
            ),
            flush=True,
        )
    return found


def bars(found: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    """One bar a table: seeds in which the set of every count is the best one."""
    reached = []
    for name, one in found.items():
        ours = one["regrets"]["search"]
        hits = sum(max(regrets) <= HIT for regrets in ours)
        least = int(np.ceil(0.95 * len(ours)))
        reached.append(
            Bar(f"{name}: seeds with every set optimal", hits, f">= {least}", hits >= least)
        )
        share = max(one["evaluations"]) / (1 << one["players"])
        reached.append(Bar(f"{name}: share measured", share, f"<= {SHARE}", share <= SHARE))
    return reached


def _one(table: Float[np.ndarray, "M"], seeds: int) -> dict[str, Any]:
    game = TableGame(table)
    n = len(game.players)
    counts = tuple(range(1, n // 2 + 1))
    removed = n - enumerate_all(n).sum(axis=1)
    optima = _Optima(game, {count: float(table[removed == count].max()) for count in counts})
    budget = int(SHARE * len(table))
    regrets, spent, seconds = [], [], []
    for seed in range(seeds):
        began = time.perf_counter()
        search = SetSearch(ProcessLearner(), counts, Limits(n))
        result = search.result(advance(search, start(game.players, seed), game, budget))
        seconds.append(time.perf_counter() - began)
        regrets.append(optima.regrets({c: result.sets[c][0].removed for c in counts}))
        spent.append(result.spent)
    order = np.argsort(exact_values(game).values, kind="stable")
    greedy = greedy_removal(game, counts)
    published = [
        cooperative_game(game, counts, budget, seed).sets for seed in range(PUBLISHED_SEEDS)
    ]
    return {
        "players": n,
        "evaluations": spent,
        "seconds": seconds,
        "regrets": {
            "search": regrets,
            "least exact Shapley values": [optima.regrets(in_order(order, counts))],
            "greedy": [optima.regrets({c: greedy[c].removed for c in counts})],
            "parent paper": [optima.regrets(sets) for sets in published],
        },
    }
