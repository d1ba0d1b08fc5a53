"""Fast prediction: the whole ensemble as one compiled program on chunks of fixed shape."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from sampling import stream
from surrogate.ensemble.device import computing, cores
from surrogate.ensemble.ensemble import MEETING_EXCESS, NEAR_EXCESS, PASSAGE, Ensemble
from surrogate.ensemble.network import stream_output
from surrogate.ensemble.processes import Fit
from surrogate.process.kernel import beside

__all__ = ["Predictor"]

CHUNK = 256  # rows of the one program: larger ones are no faster a row, and compiled for apart
# Up to this many players a large batch is answered from a table of all coalitions.
MOST_TABULATED = 20
POINTS_STEP = 256
# Single precision may be off by this share of the targets' standard deviation.
TOLERANCE = 5e-4
PROBES = 256
Weights = dict[str, np.ndarray]


class Predictor:
    """An ensemble made ready to predict: weights folded together and put on the device once.

    It computes in single precision. On a smooth game a process is a sum of large terms that
    cancel: where that would lose more than 5e-4 standard deviations of the targets, it computes in
    double.

    Attributes:
        players: how many.
        weights: all that a prediction is made of, by learner, in double precision; numbers that
            tell how they are put together under ``"mixture"``. `_evaluate` makes of them places on
            the ensemble's scale.
        double: whether it computes in double precision.
    """

    def __init__(self, ensemble: Ensemble) -> None:
        """Folds the weights of a fitted ensemble."""
        self.players = ensemble.process.process.points.shape[1]
        self._warp = ensemble.warp
        self.weights = _parts(ensemble)
        heads = [part for part in self.weights.values() if "centres" in part]
        self.double = max(_lost(part) for part in heads) > TOLERANCE
        with computing(), jax.enable_x64(self.double):
            self._weights = {
                name: {
                    key: jnp.asarray(
                        array,
                        np.float64 if self.double and name != "networks" else np.float32,
                    )
                    for key, array in part.items()
                }
                for name, part in self.weights.items()
            }

    def __call__(self, coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns predicted utilities."""
        return self._warp.to_utility(self.scaled(coalitions))

    def scaled(self, coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns predictions on the ensemble's scale.

        When there are more rows than coalitions exist (up to 20 players), every coalition is
        computed once and looked up.
        """
        n = self.players
        if n <= MOST_TABULATED and len(coalitions) > 1 << n:
            codes = np.arange(1 << n)
            every = (codes[:, None] >> np.arange(n)) & 1 == 1
            # Sums of powers of two are exact in float32 up to 2^24.
            powers = (1 << np.arange(n)).astype(np.float32)
            return self.scaled(every)[(coalitions @ powers).astype(np.int32)]
        return _in_chunks(self._weights, coalitions, self.double)


def _parts(ensemble: Ensemble) -> dict[str, Weights]:
    """Returns the weights of each learner that takes part and of their mixture."""
    warp = ensemble.warp
    mixture = {
        "far": ensemble.far_mix,
        "near": ensemble.near_mix,
        "meeting": warp.of_excess(np.array(MEETING_EXCESS)),
        "passage": PASSAGE,
        "least": np.exp(-NEAR_EXCESS),
        "logarithm": float(warp.kind == "log"),
        "level": ensemble.level,
        "spread": ensemble.spread,
    }
    parts = {"mixture": mixture, "process": _process(ensemble.process)}
    if ensemble.near is not None and ensemble.near_mix[0] > 0:
        parts["near process"] = _process(ensemble.near)
    networks = ensemble.networks
    if networks is not None and (ensemble.far_mix[1] > 0 or ensemble.near_mix[1] > 0):
        parts["networks"] = dict(vars(networks))
    return {
        name: {key: np.asarray(array, np.float64) for key, array in part.items()}
        for name, part in parts.items()
    }


def _process(fit: Fit) -> dict[str, Any]:
    """Returns a process as a constant, linear and by size, and as exponentials of two forms.

    Of each component ``exp(s' M s + s lean + level)``, which is the set's own, times a sum over
    measured sets of ``heights exp(f centres)``, where ``f`` are the signs ``s`` and, behind them,
    those of neighbours that are alike.
    """
    process, kernel = fit.process, fit.process.kernel
    points, share = process.points, fit.scale * process.weights
    n = points.shape[1]
    ladder = np.where(np.arange(n) < np.arange(n + 1)[:, None], 1.0, -1.0)
    parts = range(len(kernel.variances))
    centres = [kernel.weighed(part, points).T for part in parts]
    heights = [
        kernel.variances[part] * np.exp(kernel.alone(part, points)) * share for part in parts
    ]
    return {
        "bias": fit.mean + kernel.constant * share.sum(),
        "linear": kernel.slopes * (share @ points),
        "sizes": kernel.by_size(ladder, points) @ share,
        "metric": [-0.25 * kernel.metric(part) for part in parts],
        "lean": -0.5 * kernel.tilts,
        "level": [kernel.alone(part, np.zeros((1, n)))[0] for part in parts],
        "centres": _padded(np.stack(centres)),
        "heights": _padded(np.stack(heights)),
        "unit": fit.scale,
    }


def _padded(columns: np.ndarray) -> np.ndarray:
    """Returns columns with zeros behind, so that few shapes are compiled."""
    room = -columns.shape[-1] % POINTS_STEP
    return np.pad(columns, [(0, 0)] * (columns.ndim - 1) + [(0, room)])


def _lost(weights: Weights) -> float:
    """Returns what single precision costs, in standard deviations, on sets of every size."""
    n = len(weights["linear"])
    shares = np.linspace(0.0, 1.0, PROBES)[:, None]
    probes = stream(0, "probes of precision", n).random((PROBES, n)) < shares
    signs = np.where(np.vstack([probes, ~np.eye(n, dtype=bool)]), 1.0, -1.0)
    rough = {name: part.astype(np.float32) for name, part in weights.items()}
    single = _smooth(rough, signs.astype(np.float32), np)
    return float(np.abs(single - _smooth(weights, signs, np)).max() / weights["unit"])


def _smooth(weights: dict[str, Any], signs: Any, xp: Any) -> Any:
    """Returns all of a process but its part by size; ``xp`` is numpy or jax.numpy."""
    compared = xp.concatenate([signs, beside(signs)], axis=1)
    total = weights["bias"] + signs @ weights["linear"]
    for metric, lean, level, centres, heights in zip(
        *(weights[name] for name in ("metric", "lean", "level", "centres", "heights")), strict=True
    ):
        own = ((signs @ metric) * signs).sum(-1) + signs @ lean + level
        total += xp.exp(compared @ centres + own[:, None]) @ heights
    return total


@jax.jit
def _evaluate(weights: dict[str, dict[str, jax.Array]], coalitions: jax.Array) -> jax.Array:
    mixture = weights["mixture"]
    signs = 2.0 * coalitions.astype(mixture["far"].dtype) - 1.0
    kept = coalitions.sum(-1, dtype=jnp.int32)

    def expected(name: str) -> jax.Array:
        return _smooth(weights[name], signs, jnp) + weights[name]["sizes"][kept]

    process = near = networks = expected("process")
    if "near process" in weights:
        lost = -jnp.log(jnp.maximum(expected("near process"), mixture["least"]))
        pressed = jnp.where(lost < 0, lost, jnp.log1p(jnp.maximum(lost, 0.0)))
        near = jnp.where(mixture["logarithm"] > 0, pressed, lost)
    if "networks" in weights:
        own = stream_output(weights["networks"], coalitions.astype(jnp.float32))
        networks = mixture["level"] + mixture["spread"] * own
    far = mixture["far"] @ jnp.stack([process, networks])
    close = mixture["near"] @ jnp.stack([near, networks])
    gate = jax.nn.sigmoid((mixture["meeting"] - far) / mixture["passage"])
    return far + gate * (close - far)


def _in_chunks(
    weights: dict[str, dict[str, jax.Array]], coalitions: Bool[np.ndarray, "B n"], double: bool
) -> Float[np.ndarray, "B"]:
    count = len(coalitions)
    result = np.empty(count)
    starts = range(0, count, CHUNK)

    def work(start: int) -> None:
        rows = coalitions[start : start + CHUNK]
        if len(rows) < CHUNK:  # rows behind the last are computed for nothing
            rows = np.concatenate([rows, np.zeros((CHUNK - len(rows), rows.shape[1]), bool)])
        with computing(), jax.enable_x64(double):
            values = np.asarray(_evaluate(weights, rows.view(np.uint8)))
        result[start : start + CHUNK] = values[: count - start]

    workers = min(len(starts), cores())
    if workers <= 1:
        for start in starts:
            work(start)
    else:
        # The compiled program leaves Python's lock, and one core is kept busy by one chunk.
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, starts))
    return result
