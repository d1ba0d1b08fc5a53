"""Values of 64 players from 2,000 evaluations, against a closed form.

local: `v = -(sum c_i x_i + sum b_ij x_i x_j + sum t_ijk x_i x_j x_k)`, `x` = 1 where a player is
    removed; pairs and triples of near neighbours, like the layers of a model.
scattered: `v = sum c_i y_i + sum b_ij y_i y_j + sum t_ijk y_i y_j y_k`, `y` = 1 where a player is
    kept; 128 pairs and 64 triples anywhere, of either sign.

In both, a term's weight is shared equally by its members (a unanimity game and its dual have the
same Shapley value), so `phi_i = sum over terms T with i of w_T / |T|`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from benchmarks.support.kept_results import each
from benchmarks.support.report_bars import Bar
from benchmarks.support.values.our_default import default_estimate
from sampling import stream
from shapley import FunctionGame

__all__ = ["large_game", "measure"]

PLAYERS = 64
BUDGET = 2_000
SEEDS = 3
_LARGEST_ERROR = 0.01
_KINDS = ("local", "scattered")


def measure(
    folder: Path, workers: int, n: int = PLAYERS, budget: int = BUDGET, seeds: int = SEEDS
) -> tuple[list[Bar], dict[str, Any]]:
    """Bars and raw numbers."""
    jobs = {
        f"{kind}-{n}-{budget}-{seed}": (kind, n, budget, seed)
        for kind in _KINDS
        for seed in range(seeds)
    }
    found = each("large", jobs, _one, folder, workers)
    bars = []
    for kind in _KINDS:
        runs = [found[f"{kind}-{n}-{budget}-{seed}"] for seed in range(seeds)]
        worst = max(run["largest_error"] for run in runs)
        bars.append(
            Bar(
                f"{n} players, {budget:,} evaluations: error / largest value, {kind}",
                worst,
                f"at most {_LARGEST_ERROR}",
                worst <= _LARGEST_ERROR,
            )
        )
    return bars, {"raw": found}


def large_game(kind: str, n: int, seed: int) -> tuple[FunctionGame, Float[np.ndarray, "n"]]:
    """A game of linear terms, pairs and triples, and its exact Shapley values.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, got {kind}")
    rng = stream(seed, "large game", kind, n)
    linear = rng.gamma(1.5, 0.2, n)
    pairs, triples = (_neighbours if kind == "local" else _anywhere)(n, rng)
    values = linear.copy()
    for members, weights in (pairs, triples):
        np.add.at(values, members, weights[:, None] / members.shape[1])
    sign = -1.0 if kind == "local" else 1.0

    def utility(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        present = ~coalitions if kind == "local" else coalitions
        total = present @ linear
        for members, weights in (pairs, triples):
            total = total + present[:, members].all(axis=2) @ weights
        return sign * total

    return FunctionGame(utility, n), values


Terms = tuple[np.ndarray, np.ndarray]


def _neighbours(n: int, rng: np.random.Generator) -> tuple[Terms, Terms]:
    members, weights = [], []
    for distance, strength in ((1, 0.2), (2, 0.1), (3, 0.05)):
        members += [(i, i + distance) for i in range(n - distance)]
        weights += (strength * rng.uniform(0.2, 1.0, n - distance)).tolist()
    threes = [(i, i + 1, i + 2) for i in range(n - 2)]
    return _terms(members, weights), _terms(threes, 0.05 * rng.uniform(0.0, 1.0, n - 2))


def _anywhere(n: int, rng: np.random.Generator) -> tuple[Terms, Terms]:
    twos = [sorted(rng.choice(n, 2, replace=False)) for _ in range(2 * n)]
    threes = [sorted(rng.choice(n, 3, replace=False)) for _ in range(n)]
    return (
        _terms(twos, 0.1 * rng.normal(size=2 * n)),
        _terms(threes, 0.05 * rng.normal(size=n)),
    )


def _terms(members: Sequence[Sequence[int]], weights: Any) -> Terms:
    return np.array(members, dtype=np.int64), np.asarray(weights, dtype=np.float64)


def _one(kind: str, n: int, budget: int, seed: int) -> dict[str, Any]:
    game, truth = large_game(kind, n, seed)
    started = time.perf_counter()
    found = default_estimate(game, budget, seed)
    return {
        "largest_error": float(np.abs(found.values - truth).max() / np.abs(truth).max()),
        "covered": float(((found.lower <= truth) & (truth <= found.upper)).mean()),
        "evaluations": found.evaluations,
        "seconds": time.perf_counter() - started,
        "diagnostics": dict(found.diagnostics),
    }
