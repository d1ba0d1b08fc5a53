"""The published way to value layers, its own quantity, and how few evaluations it takes here.

The way ("Pruning as a Cooperative Game", arXiv 2602.07804): masks uniform in five strata of
removed layers, utility `PPL(dense) / PPL(mask)`, a perceptron n-2n-1 with CELU and sigmoid trained
for 300 epochs of SGD on the squared error, and as the value of a layer the mean of
`f(mask with it) - f(mask without it)` over masks of the same strata. Its strata, 2, 5, 8, 11 and 14
of 32 layers, are scaled to the number of players. It is run with the settings that its authors
published for 8,000 masks (batches of 300, rate 0.008, a tenth of it after each 100 epochs), and
tuned: batches of 32 and the rate that predicts a held-out fifth of the masks best.

Its quantity is known exactly from a table, `f` being the true utility. The way gets `m` distinct
masks, learns from all of them, and its mean is taken over all masks of the strata, all in its
favour. The surrogate of this project gets `m / 10` coalitions and the same utility: the full one,
each single removal, the rest even over the strata. What counts is Spearman's rank correlation of
the values with the true ones.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from benchmarks.kept_results import each
from benchmarks.our_default import default_surrogate
from benchmarks.report_bars import Bar
from sampling import enumerate_all, even_quotas, stratified, stream
from shapley import TableGame
from surrogate import SurrogateGame

__all__ = ["measure"]

PER_PLAYER = (50, 100)
SEEDS = 5
_STRATA = (2, 5, 8, 11, 14)
_PUBLISHED_DEPTH = 32
_FEWER = 10
_EPOCHS = 300
_SAME = 0.01


@dataclass(frozen=True)
class _Training:
    """Settings of SGD with momentum 0.9: learning rate, rows a step, decay after 100 epochs."""

    rate: float
    batch: int
    decay: float


_PUBLISHED = _Training(0.008, 300, 0.1)
_TUNED = tuple(_Training(rate, 32, 0.1) for rate in (0.03, 0.1, 0.3))
_WAYS = ("as published", "tuned")
Utility = Callable[[Bool[np.ndarray, "B n"]], Float[np.ndarray, "B"]]


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
    torch.set_num_threads(1)
    n = table.size.bit_length() - 1
    game = TableGame(table)
    removals = _removals(n)
    every = enumerate_all(n)
    strata = [every[(~every).sum(axis=1) == removed] for removed in removals]

    def saturating(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        return np.exp(game(coalitions) - table[-1])

    truth = _strata_values(saturating, strata)
    masks = stratified(n, even_quotas(n, removals, times * n), seed)
    scores = saturating(masks)
    ways = {
        "as published": _perceptron(masks, scores, _PUBLISHED, seed),
        "tuned": _perceptron(masks, scores, _best(masks, scores, seed), seed),
    }
    coalitions = _few(n, removals, len(masks) // _FEWER, seed)
    utilities = saturating(coalitions)
    regressor, _ = default_surrogate(coalitions, utilities, seed)
    surrogate = SurrogateGame(regressor, game.players, measured=(coalitions, utilities))
    return {
        "ranks": {
            name: _rank(_strata_values(f, strata), truth)
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


def _removals(n: int) -> list[int]:
    """The published strata scaled to n players, each at least one more than the one before."""
    found: list[int] = []
    for removed in _STRATA:
        scaled = math.floor(removed * n / _PUBLISHED_DEPTH + 0.5)
        found.append(max(scaled, found[-1] + 1 if found else 1))
    return found


def _strata_values(
    utility: Utility, strata: list[Bool[np.ndarray, "B n"]]
) -> Float[np.ndarray, "n"]:
    """Mean over strata of the mean of `f(with i) - f(without i)` over all masks of a stratum."""
    n = strata[0].shape[1]
    values = np.zeros(n)
    for player in range(n):
        for masks in strata:
            present, absent = masks.copy(), masks.copy()
            present[:, player], absent[:, player] = True, False
            values[player] += (utility(present) - utility(absent)).mean() / len(strata)
    return values


def _best(
    masks: Bool[np.ndarray, "m n"], utilities: Float[np.ndarray, "m"], seed: int
) -> _Training:
    """The settings that predict held-out masks best."""
    order = stream(seed, "held-out masks of the published way").permutation(len(masks))
    out, rest = order[: len(masks) // 5], order[len(masks) // 5 :]
    errors = {}
    for training in _TUNED:
        predicted = _perceptron(masks[rest], utilities[rest], training, seed)(masks[out])
        errors[training] = float(((predicted - utilities[out]) ** 2).mean())
    return min(errors, key=errors.__getitem__)


def _perceptron(
    masks: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    training: _Training,
    seed: int,
) -> Utility:
    """The published surrogate, trained."""
    torch.manual_seed(seed)
    n = masks.shape[1]
    model = torch.nn.Sequential(
        torch.nn.Linear(n, 2 * n),
        torch.nn.CELU(),
        torch.nn.Linear(2 * n, 1),
        torch.nn.Sigmoid(),
    )
    optimiser = torch.optim.SGD(model.parameters(), lr=training.rate, momentum=0.9)
    rates = torch.optim.lr_scheduler.StepLR(optimiser, step_size=100, gamma=training.decay)
    inputs_BN = torch.from_numpy(masks.astype(np.float32))
    targets_B = torch.from_numpy(utilities.astype(np.float32))
    rng = stream(seed, "batches of the published way")
    for _ in range(_EPOCHS):
        for rows in torch.from_numpy(rng.permutation(len(masks))).split(training.batch):
            optimiser.zero_grad()
            error_B = model(inputs_BN[rows])[:, 0] - targets_B[rows]
            error_B.square().mean().backward()
            optimiser.step()
        rates.step()

    @torch.inference_mode()
    def predict(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        rows_BN = torch.from_numpy(coalitions.astype(np.float32))
        return model(rows_BN)[:, 0].numpy().astype(np.float64)

    return predict


def _rank(values: Float[np.ndarray, "n"], truth: Float[np.ndarray, "n"]) -> float:
    if np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(values), rankdata(truth))[0, 1])


def _digest(table: Float[np.ndarray, "M"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()[:10]
