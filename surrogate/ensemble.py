"""The ensemble: unlike learners of one game, weighted by what they predict out of fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import nnls

from sampling import stream
from surrogate.network import PENALTIES, Networks, train_networks
from surrogate.process import Process, fit_process
from surrogate.quadratic import Quadratic, fit_quadratic

__all__ = ["LEARNERS", "Ensemble", "FitSettings", "assign_folds", "fit_ensemble", "member_mix"]

# The order of the stacking weights.
LEARNERS = ("process", "quadratic", *(f"networks_{k}" for k in range(len(PENALTIES))))
LARGEST_SCALE = 10.0
# A learner that stacking would give less than this is not worth its prediction time.
LEAST_WEIGHT = 0.05


@dataclass(frozen=True)
class FitSettings:
    """How an ensemble is fitted; see ``SurrogateRegressor`` for the meaning of each."""

    members: int
    folds: int
    width: int
    steps: int
    batch: int
    process_points: int
    seed: int


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A fitted ensemble.

    Attributes:
        mean: of the measured utilities.
        scale: their standard deviation.
        process: the Gaussian process.
        quadratic: the ridge fit with pairs.
        networks: the neural members.
        stack: weight of each learner, in the order of ``LEARNERS``, none negative.
    """

    mean: float
    scale: float
    process: Process
    quadratic: Quadratic
    networks: Networks
    stack: Float[np.ndarray, "l"]


def assign_folds(
    coalitions: Bool[np.ndarray, "m n"], folds: int, rng: np.random.Generator
) -> Int[np.ndarray, "m"]:
    """Returns a fold for each row: every stratum is spread evenly, repeats stay together."""
    distinct, position = np.unique(coalitions, axis=0, return_inverse=True)
    removed = (~distinct).sum(axis=1)
    order = np.lexsort((rng.random(len(distinct)), removed))
    fold = np.empty(len(distinct), dtype=np.int64)
    fold[order] = np.arange(len(distinct)) % folds
    return fold[np.ravel(position)]


def fit_ensemble(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
    settings: FitSettings,
) -> tuple[Ensemble, Float[np.ndarray, "m"], Int[np.ndarray, "m"]]:
    """Fits the ensemble and returns it, its out-of-fold predictions and the folds.

    Every fold's learners, their hyperparameters included, see only the other folds; so do the
    stacking weights of a fold's predictions (stacked generalisation, Wolpert 1992; non-negative
    weights, Breiman 1996).

    Args:
        coalitions: True = kept.
        utilities: finite.
        weights: sample weights, not negative, some positive.
        settings: see ``FitSettings``.
    """
    m = len(coalitions)
    seed = settings.seed
    signs = np.where(coalitions, 1.0, -1.0)
    share = weights * (np.count_nonzero(weights) / weights.sum())
    mean = float(np.average(utilities, weights=weights))
    scale = float(np.sqrt(np.average((utilities - mean) ** 2, weights=weights)))
    scale = scale if scale > 1e-12 * max(1.0, abs(mean)) else 1.0
    targets = (utilities - mean) / scale
    fold = assign_folds(coalitions, settings.folds, stream(seed, "surrogate folds"))

    # One weighting a fold, and one with every row for the final learners.
    training = np.stack([share * (fold != k) for k in range(settings.folds)] + [share])
    processes, quadratics = [], []
    for k, weighting in enumerate(training):
        final = k == settings.folds
        processes.append(
            fit_process(
                signs,
                targets,
                weighting,
                rng=stream(seed, "surrogate process", k),
                evidence_rows=600 if final else 400,
                points=settings.process_points,
                iterations=50 if final else 35,
            )
        )
        quadratics.append(fit_quadratic(signs, targets, weighting))

    # Held-out predictions need no more than half the members, which is on the safe side.
    sizes = [max(len(PENALTIES), settings.members // 2)] * settings.folds + [settings.members]
    owner = np.repeat(np.arange(len(training)), sizes)
    kinds = np.concatenate([np.arange(size) % len(PENALTIES) for size in sizes])
    scales = np.stack([_input_scales(process) for process in processes])
    networks, predictions = train_networks(
        signs,
        targets,
        training[owner],
        scales[owner],
        [quadratics[k] for k in owner],
        kinds,
        rng=stream(seed, "surrogate networks"),
        width=settings.width,
        steps=settings.steps,
        batch=settings.batch,
    )

    held_out = np.empty((m, len(LEARNERS)))
    for k in range(settings.folds):
        rows = fold == k
        held_out[rows, 0] = processes[k](signs[rows])
        held_out[rows, 1] = quadratics[k](signs[rows])
        for kind in range(len(PENALTIES)):
            chosen = (owner == k) & (kinds == kind)
            held_out[rows, 2 + kind] = predictions[chosen][:, rows].mean(axis=0)
    stacked = np.empty(m)
    for k in range(settings.folds):
        rows = fold == k
        stacked[rows] = held_out[rows] @ _stacking(held_out, targets, training[k])
    ensemble = Ensemble(
        mean,
        scale,
        processes[-1],
        quadratics[-1],
        _select(networks, owner == settings.folds),
        _stacking(held_out, targets, share),
    )
    return ensemble, mean + scale * stacked, fold


def member_mix(ensemble: Ensemble) -> Float[np.ndarray, "k"]:
    """Returns the weight of each neural member in the prediction."""
    kinds = ensemble.networks.setting
    counts = np.bincount(kinds, minlength=len(PENALTIES))
    return ensemble.stack[2 + kinds] / counts[kinds]


def _input_scales(process: Process) -> Float[np.ndarray, "n"]:
    relative = np.sqrt(process.lengths / process.lengths.mean())
    return np.clip(relative, 1.0 / LARGEST_SCALE, LARGEST_SCALE)


def _stacking(
    held_out: Float[np.ndarray, "m l"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "l"]:
    if not targets.any():
        # A constant game: the process is exactly constant, networks are not.
        return np.eye(held_out.shape[1])[0]
    root = np.sqrt(weights)[:, None]
    # Pulls the weights gently towards the mean of the learners where the data cannot tell.
    count = held_out.shape[1]
    pull = np.sqrt(1e-3 * weights.sum() / count)
    design = np.vstack([held_out * root, pull * np.eye(count)])
    wanted = np.append(targets * root[:, 0], np.full(count, pull / count))
    stack, _ = nnls(design, wanted)
    kept = stack >= LEAST_WEIGHT
    if not kept.any():
        return np.full(count, 1.0 / count)
    stack[:] = 0.0
    stack[kept], _ = nnls(design[:, kept], wanted)
    return stack


def _select(networks: Networks, chosen: Bool[np.ndarray, "k"]) -> Networks:
    return Networks(**{name: array[chosen] for name, array in vars(networks).items()})
