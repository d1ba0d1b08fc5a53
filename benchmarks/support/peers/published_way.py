"""The published way to value layers, its own quantity, and how few evaluations it takes here.

The way ("Pruning as a Cooperative Game", arXiv 2602.07804) is in
`surrogate.baselines.cooperative_game`: a perceptron learns `PPL(dense) / PPL(mask)` from masks of
five strata, and the value of a layer is the mean of `f(mask with it) - f(mask without it)` over
masks of the same strata. It is run with the settings that its authors published for 8,000 masks,
and tuned by a held-out fifth of the masks.

Its quantity is known exactly from a table, `f` being the true utility. The way gets `m` distinct
masks, learns from all of them, and its mean is taken over all masks of the strata, all in its
favour. The surrogate of this project gets `m / 10` coalitions and the same utility: the full one,
each single removal, the rest even over the strata. What counts is Spearman's rank correlation of
the values with the true ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from benchmarks.support.kept_results import each
from benchmarks.support.report_bars import Bar
from benchmarks.support.values.our_default import default_surrogate
from sampling import enumerate_all, even_quotas, stratified
from shapley import TableGame
from surrogate import SurrogateGame
from surrogate.baselines.cooperative_game import (
    AS_PUBLISHED,
    published_strata,
    strata_values,
    train_perceptron,
    tuned_training,
)

__all__ = ["measure"]

PER_PLAYER = (50, 100)
SEEDS = 5
_FEWER = 10
_SAME = 0.01
_WAYS = ("as published", "tuned")


def measure(
    tables: Mapping[str, Float[np.ndarray, "M"]], folder: Path, workers: int
) -> tuple[list[Bar], dict[str, Any]]:
    """Bars and raw numbers of the real games."""
    jobs = {
        f"{name}-{_digest(table)}-{times}-{seed}": (table, times, seed)
        for name, table in tables.items()
        for times in PER_PLAYER
        for seed in range(SEEDS)
    }
    found = each("published", jobs, _one, folder, workers)
    bars = []
    print(f"\nrank correlation with the published quantity, mean of {SEEDS} seeds")
    for times in PER_PLAYER:
        means = {}
        for name, table in tables.items():
            runs = [found[f"{name}-{_digest(table)}-{times}-{seed}"] for seed in range(SEEDS)]
            means[name] = {
                way: float(np.mean([run["ranks"][way] for run in runs])) for way in ("ours", *_WAYS)
            }
            m, tenth = runs[0]["masks"], runs[0]["coalitions"]
            shown = ", ".join(f"{way} {means[name][way]:.3f}" for way in _WAYS)
            print(f"{name:<15} {m} masks: {shown}; ours, {tenth}: {means[name]['ours']:.3f}")
        for way in _WAYS:
            gain = float(np.mean([mean["ours"] - mean[way] for mean in means.values()]))
            few = times // _FEWER
            bars.append(
                Bar(
                    f"rank correlation, {few}n less the published way's with {times}n, {way}",
                    gain,
                    f"at least -{_SAME} (the same to a hundredth)",
                    gain >= -_SAME,
                )
            )
    return bars, {"raw": found}


def _one(table: Float[np.ndarray, "M"], times: int, seed: int) -> dict[str, Any]:
    n = table.size.bit_length() - 1
    game = TableGame(table)
    removals = published_strata(n)
    every = enumerate_all(n)
    strata = [every[(~every).sum(axis=1) == removed] for removed in removals]

    def saturating(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        return np.exp(game(coalitions) - table[-1])

    truth = strata_values(saturating, strata)
    masks = stratified(n, even_quotas(n, removals, times * n), seed)
    scores = saturating(masks)
    ways = {
        "as published": train_perceptron(masks, scores, AS_PUBLISHED, seed),
        "tuned": train_perceptron(masks, scores, tuned_training(masks, scores, seed), seed),
    }
    coalitions = _few(n, removals, len(masks) // _FEWER, seed)
    utilities = saturating(coalitions)
    regressor, _ = default_surrogate(coalitions, utilities, seed)
    surrogate = SurrogateGame(regressor, game.players, measured=(coalitions, utilities))
    return {
        "ranks": {
            name: _rank(strata_values(f, strata), truth)
            for name, f in {"ours": surrogate, **ways}.items()
        },
        "masks": len(masks),
        "coalitions": len(coalitions),
    }


def _few(n: int, removals: list[int], count: int, seed: int) -> Bool[np.ndarray, "m n"]:
    """The full coalition and each single removal, the rest even over the other strata."""
    first = np.concatenate([np.ones((1, n), dtype=bool), ~np.eye(n, dtype=bool)])
    others = [removed for removed in removals if removed > 1]
    rest = stratified(n, even_quotas(n, others, max(0, count - len(first))), seed)
    return np.concatenate([first, rest])


def _rank(values: Float[np.ndarray, "n"], truth: Float[np.ndarray, "n"]) -> float:
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(values), rankdata(truth))[0, 1])


def _digest(table: Float[np.ndarray, "M"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()[:10]
