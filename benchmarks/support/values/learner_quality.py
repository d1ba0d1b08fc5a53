"""How well the surrogate predicts real games, and whether its intervals hold what they say.

At 25 coalitions a player: out-of-fold R² beside ridge regression with pairs, gradient boosting and
a Gaussian process (scikit-learn's, one length scale a player), all trained on the same rows of the
same folds; and the share of the coalitions that were NOT measured whose utility lies in the
surrogate's 95 % interval, by number of removed players.
"""

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from benchmarks.support.kept_results import each
from benchmarks.support.report_bars import Bar
from benchmarks.support.values.our_default import default_design, default_surrogate
from sampling import enumerate_all, keys
from shapley import TableGame
from surrogate.model.evaluation import BASELINES
from surrogate.model.scores import score

__all__ = ["measure"]

PER_PLAYER = 25
SEEDS = 5
LEVEL = 0.95
_OURS = "surrogate"
_R2 = 0.98
_APART = 0.02
_FEWEST = 500


def measure(
    tables: Mapping[str, Float[np.ndarray, "M"]], folder: Path, workers: int
) -> tuple[list[Bar], dict[str, Any]]:
    """Bars and raw numbers of the real games."""
    jobs = {
        f"{name}-{_digest(table)}-{seed}": (table, seed)
        for name, table in tables.items()
        for seed in range(SEEDS)
    }
    found = each("learners", jobs, _one, folder, workers)
    r2 = {
        name: {
            learner: float(np.mean([r["r2"][learner] for r in _of(found, name, tables[name])]))
            for learner in [_OURS, *BASELINES, "Gaussian process"]
        }
        for name in tables
    }
    print(f"\nout-of-fold R² at {PER_PLAYER}n, mean of {SEEDS} seeds")
    for name, scores in r2.items():
        print(f"{name:<15}", "  ".join(f"{who} {value:.4f}" for who, value in scores.items()))
    inside: dict[int, int] = defaultdict(int)
    asked: dict[int, int] = defaultdict(int)
    for result in found.values():
        for removed, (hits, count) in result["intervals"].items():
            inside[int(removed)] += hits
            asked[int(removed)] += count
    shares = {removed: inside[removed] / asked[removed] for removed in sorted(asked)}
    print("intervals of predictions that hold, by number of removed players:")
    print("  ".join(f"{removed}: {share:.3f}" for removed, share in shares.items()))
    return _bars(r2, shares, asked), {"r2": r2, "coverage": shares, "asked": asked, "raw": found}


def _bars(
    r2: Mapping[str, Mapping[str, float]], shares: Mapping[int, float], asked: Mapping[int, int]
) -> list[Bar]:
    lowest = min(r2, key=lambda name: r2[name][_OURS])
    gain = {
        name: scores[_OURS] - max(value for who, value in scores.items() if who != _OURS)
        for name, scores in r2.items()
    }
    least = min(gain, key=gain.__getitem__)
    # A handful of coalitions says nothing about a share.
    strata = [removed for removed in shares if asked[removed] >= _FEWEST]
    bars = [
        Bar(
            f"out-of-fold R² at {PER_PLAYER}n, lowest real game ({lowest})",
            r2[lowest][_OURS],
            f"at least {_R2}",
            r2[lowest][_OURS] >= _R2,
        ),
        Bar(
            f"out-of-fold R² less the best single learner's, lowest ({least})",
            gain[least],
            "at least 0",
            gain[least] >= 0,
        ),
    ]
    if strata:
        worst = max(strata, key=lambda removed: abs(shares[removed] - LEVEL))
        bars.append(
            Bar(
                f"95 % intervals of predictions that hold, worst stratum ({worst} removed)",
                shares[worst],
                f"{LEVEL - _APART:.2f} to {LEVEL + _APART:.2f}",
                abs(shares[worst] - LEVEL) <= _APART,
            )
        )
    return bars


def _one(table: Float[np.ndarray, "M"], seed: int) -> dict[str, Any]:
    game = TableGame(table)
    n = len(game.players)
    coalitions = default_design(n, PER_PLAYER * n, seed)
    utilities = game(coalitions)
    regressor, used = default_surrogate(coalitions, utilities, seed)
    rows, measured = coalitions[used], utilities[used]
    predictions = {_OURS: regressor.out_of_fold_}
    for name, learner in {**BASELINES, "Gaussian process": _gaussian_process}.items():
        predicted = np.empty_like(measured)
        for fold in np.unique(regressor.folds_):
            out = regressor.folds_ == fold
            predicted[out] = learner(rows[~out], measured[~out], rows[out])
        predictions[name] = predicted
    return {
        "r2": {name: score(guess, measured).r2 for name, guess in predictions.items()},
        "intervals": _held(table, coalitions, regressor),
    }


def _held(
    table: Float[np.ndarray, "M"], coalitions: Bool[np.ndarray, "m n"], regressor: Any
) -> dict[int, tuple[int, int]]:
    """Intervals that hold and all, by number of removed players, of what was not measured."""
    seen = set(keys(coalitions))
    every = enumerate_all(coalitions.shape[1])
    fresh = np.array([key not in seen for key in keys(every)]) & every.any(axis=1)
    low, high = regressor.predict_interval(every[fresh], LEVEL)
    hits = (low <= table[fresh]) & (table[fresh] <= high)
    removed = (~every[fresh]).sum(axis=1)
    return {
        int(size): (int(hits[removed == size].sum()), int((removed == size).sum()))
        for size in np.unique(removed)
    }


def _gaussian_process(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    asked: Bool[np.ndarray, "B n"],
) -> Float[np.ndarray, "B"]:
    n = coalitions.shape[1]
    scales: Any = [3.0] * n  # the stubs know one length scale only
    kernel = ConstantKernel() * RBF(scales) + DotProduct() + WhiteKernel(1e-3)
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(coalitions.astype(np.float64), utilities)
    return np.asarray(model.predict(asked.astype(np.float64)))


def _of(
    found: Mapping[str, dict[str, Any]], name: str, table: Float[np.ndarray, "M"]
) -> list[dict[str, Any]]:
    return [found[f"{name}-{_digest(table)}-{seed}"] for seed in range(SEEDS)]


def _digest(table: Float[np.ndarray, "M"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()[:10]
