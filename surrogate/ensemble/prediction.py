"""Fast prediction: the whole ensemble as one compiled program on chunks of fixed shape."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from sampling import stream
from surrogate.ensemble.device import computing
from surrogate.ensemble.ensemble import NETWORKS, Ensemble, member_mix
from surrogate.ensemble.network import Networks
from surrogate.ensemble.trees import Trees
from surrogate.process.kernel import Process

__all__ = ["Predictor"]

SMALL_CHUNK = 256
CHUNK = 1024
# Up to this many players a large batch is answered from a table of all coalitions.
MOST_TABULATED = 20
POINTS_STEP = 256
# A table of 2^8 leaves still lies in the fast part of the cache.
LEVELS = 8
# Single precision may be off by this share of the utilities' standard deviation.
TOLERANCE = 1e-5
PROBES = 256
# Networks and trees sum terms of their own size, and never need more than single precision.
COARSE = ("first", "first_bias", "second", "second_bias", "last", "powers", "starts", "leaves")
# Exponents this small have their first three terms folded into the quadratic part.
REACH = 1.5
# 1 / 3!, 1 / 4!, ...: what is left of exp is below 1e-8 of its first term there.
TAIL = tuple(1.0 / math.factorial(power) for power in range(3, 15))


class Predictor:
    """An ensemble made ready to predict: weights folded together and put on the device once.

    It computes in single precision. On a smooth game the process is a sum of large terms that
    cancel; most of that is done once, in double, by folding the constant, linear and quadratic
    terms of the exponentials together. Where single precision would still lose more than 1e-5
    standard deviations of the utilities, it computes in double.

    Attributes:
        players: how many.
        weights: all that a prediction is made of, in double precision. What `_evaluate` makes of
            them, times the scale of the measured utilities, plus their mean, is the prediction.
        double: whether it computes in double precision.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        """Folds the weights of a fitted ensemble."""
        self.players = len(ensemble.quadratic.linear)
        self._mean, self._scale = ensemble.mean, ensemble.scale
        self.weights = _fused(ensemble)
        folded = _folded(self.weights)
        self.double = _lost(folded) > TOLERANCE
        with computing(), jax.enable_x64(self.double):
            self._weights = {
                name: jnp.asarray(part, _precision(name, self.double))
                for name, part in folded.items()
            }

    def __call__(self, coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the stacked prediction, in the units of the measured utilities.

        When there are more rows than coalitions exist (up to 20 players), every coalition is
        computed once and looked up.
        """
        n = self.players
        if n <= MOST_TABULATED and len(coalitions) > 1 << n:
            codes = np.arange(1 << n)
            every = (codes[:, None] >> np.arange(n)) & 1 == 1
            # Sums of powers of two are exact in float32 up to 2^24.
            powers = (1 << np.arange(n)).astype(np.float32)
            return self(every)[(coalitions @ powers).astype(np.int32)]
        standardised = _in_chunks(self._weights, coalitions, self.double)
        return self._mean + self._scale * standardised


def _fused(ensemble: Ensemble) -> dict[str, np.ndarray]:
    """Folds the stacking weights into the arrays and all quadratic parts into one."""
    process, quadratic = ensemble.process, ensemble.quadratic
    kernel = process.kernel
    by_process, by_quadratic, by_trees = ensemble.stack[:NETWORKS]
    mix = member_mix(ensemble)
    used = mix > 0
    networks = Networks(**{name: array[used] for name, array in vars(ensemble.networks).items()})
    mix = mix[used]
    weights = {
        "bias": np.asarray(
            by_quadratic * quadratic.bias
            + by_trees * ensemble.trees.level
            + mix @ networks.bias
            + by_process * kernel.constant * process.weights.sum()
        ),
        "linear": by_quadratic * quadratic.linear
        + mix @ networks.linear
        + by_process * kernel.slopes * (process.weights @ process.points),
        "pairs": by_quadratic * quadratic.pairs + np.tensordot(mix, networks.pairs, 1),
        "first": np.moveaxis(networks.first, 0, 1).reshape(len(kernel.slopes), -1),
        "first_bias": networks.first_bias.reshape(-1),
        "second": networks.second,
        "second_bias": networks.second_bias,
        "last": networks.last * mix[:, None],
        "sizes": by_process * _by_size(process),
    }
    if by_process > 0:
        weights |= _bumps(process, by_process)
    if by_trees > 0:
        weights |= _tables(ensemble.trees, by_trees, len(kernel.slopes))
    return {name: np.asarray(array, np.float64) for name, array in weights.items()}


def _by_size(process: Process) -> Float[np.ndarray, "n+1"]:
    """Returns the process's function of the number of kept players, at 0, 1, ... n."""
    n = len(process.kernel.slopes)
    ladder = np.where(np.arange(n) < np.arange(n + 1)[:, None], 1.0, -1.0)
    return process.kernel.by_size(ladder, process.points) @ process.weights


def _bumps(process: Process, share: float) -> dict[str, np.ndarray]:
    """Returns the product parts of all components as ``exp(signs @ centres) @ heights``."""
    kernel, points = process.kernel, process.points
    centres, heights = [], []
    for lengths, tilts, variance in zip(
        kernel.lengths, kernel.tilts, kernel.variances, strict=True
    ):
        centres.append(0.5 * (lengths * points - tilts).T)
        offset = tilts.sum() - 0.5 * points @ tilts - 0.5 * lengths.sum()
        heights.append(share * variance * np.exp(offset) * process.weights)
    return {
        "centres": _padded(np.concatenate(centres, axis=1)),
        "heights": _padded(np.concatenate(heights)),
    }


def _tables(trees: Trees, share: float, n: int) -> dict[str, np.ndarray]:
    """Returns all leaves as one table and what finds a coalition's place in each part of it."""
    merged = trees.merged(LEVELS)
    count, size = merged.leaves.shape
    return {
        "leaves": share * merged.leaves.reshape(-1),
        "powers": merged.powers(n),
        "starts": np.arange(count) * size,
    }


def _precision(name: str, double: bool) -> type[np.floating]:
    return np.float64 if double and name not in COARSE else np.float32


def _folded(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns weights whose small exponents are split: quadratic terms here, the rest in `near`.

    With signs s, a centre c and its height h: h exp(s.c) is h (1 + s.c + (s.c)^2 / 2) plus h times
    the tail of the series, and the first part is a quadratic function of s.
    """
    if "centres" not in weights:
        return weights
    centres, heights = weights["centres"], weights["heights"]
    small = (np.abs(centres).sum(axis=0) <= REACH) & (heights != 0)
    if not small.any():
        return weights
    near, share = centres[:, small], heights[small]
    folded = weights | {
        "bias": weights["bias"] + share.sum(),
        "linear": weights["linear"] + near @ share,
        "pairs": weights["pairs"] + 0.5 * (near * share) @ near.T,
        "near": _padded(near),
        "near_heights": _padded(share),
    }
    far = ~small & (heights != 0)
    if far.any():
        return folded | {"centres": _padded(centres[:, far]), "heights": _padded(heights[far])}
    del folded["centres"], folded["heights"]
    return folded


def _padded(columns: np.ndarray) -> np.ndarray:
    """Returns columns with zeros behind, so that few shapes are compiled."""
    room = -columns.shape[-1] % POINTS_STEP
    return np.pad(columns, [(0, 0)] * (columns.ndim - 1) + [(0, room)])


def _lost(weights: dict[str, np.ndarray]) -> float:
    """Returns what single precision costs, in standard deviations, on sets of every size."""
    n = len(weights["linear"])
    shares = np.linspace(0.0, 1.0, PROBES)[:, None]
    probes = stream(0, "probes of precision", n).random((PROBES, n)) < shares
    signs = np.where(np.vstack([probes, ~np.eye(n, dtype=bool)]), 1.0, -1.0)
    rough = {name: part.astype(np.float32) for name, part in weights.items()}
    single = _smooth(rough, signs.astype(np.float32), np)
    return float(np.abs(single - _smooth(weights, signs, np)).max())


def _smooth(weights: dict[str, Any], signs: Any, xp: Any) -> Any:
    """Returns the quadratic part and the product parts; ``xp`` is numpy or jax.numpy."""
    total = weights["bias"] + signs @ weights["linear"]
    total += ((signs @ weights["pairs"]) * signs).sum(-1)
    if "centres" in weights:
        total += xp.exp(signs @ weights["centres"]) @ weights["heights"]
    if "near" in weights:
        x = signs @ weights["near"]
        tail = x * TAIL[-1] + TAIL[-2]
        for factor in TAIL[-3::-1]:
            tail = tail * x + factor
        total += (tail * x * x * x) @ weights["near_heights"]
    return total


@jax.jit
def _evaluate(weights: dict[str, jax.Array], coalitions: jax.Array) -> jax.Array:
    signs = 2.0 * coalitions.astype(weights["linear"].dtype) - 1.0
    total = _smooth(weights, signs, jnp)
    total += weights["sizes"][coalitions.sum(-1, dtype=jnp.int32)]
    members, width = weights["second_bias"].shape
    if members:
        coarse = signs.astype(jnp.float32)
        hidden = jnp.tanh(coarse @ weights["first"] + weights["first_bias"])
        for k in range(members):
            inner = hidden[:, k * width : (k + 1) * width] @ weights["second"][k]
            total += jnp.tanh(inner + weights["second_bias"][k]) @ weights["last"][k]
    if "leaves" in weights:
        # Sums of powers of two are exact in float32.
        places = coalitions.astype(jnp.float32) @ weights["powers"] + weights["starts"]
        total += weights["leaves"][places.astype(jnp.int32)].sum(-1)
    return total


def _in_chunks(
    weights: dict[str, jax.Array], coalitions: Bool[np.ndarray, "B n"], double: bool
) -> Float[np.ndarray, "B"]:
    count = len(coalitions)
    result = np.empty(count)
    chunk = SMALL_CHUNK if count <= SMALL_CHUNK else CHUNK
    starts = range(0, count, chunk)

    def work(start: int) -> None:
        rows = coalitions[start : start + chunk]
        if len(rows) < chunk:
            rows = np.concatenate([rows, np.zeros((chunk - len(rows), rows.shape[1]), bool)])
        with computing(), jax.enable_x64(double):
            values = np.asarray(_evaluate(weights, rows.view(np.uint8)))
        result[start : start + chunk] = values[: count - start]

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    workers = min(len(starts), cores or 1)
    if workers <= 1:
        for start in starts:
            work(start)
    else:
        # The compiled program leaves Python's lock, and one core is kept busy by one chunk.
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, starts))
    return result
