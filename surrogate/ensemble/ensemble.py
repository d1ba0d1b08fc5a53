"""The ensemble: unlike learners of one game, mixed by what they predict out of fold."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from sampling import stream
from shapley.regression.pairwise_ridge import PairwiseRidge, fit_validated
from surrogate.ensemble.network import PENALTIES, Networks, train_networks
from surrogate.ensemble.stacking import stacking_weights
from surrogate.ensemble.trees import Trees, fit_trees
from surrogate.process.kernel import Kernel, Process, fit_process

__all__ = [
    "LEARNERS",
    "Ensemble",
    "FitSettings",
    "Fitted",
    "assign_folds",
    "fit_ensemble",
    "member_mix",
]

# Product parts of the processes that compete, and whether they are tilted; the best one out of
# fold takes part.
RIVALS = ((1, True), (2, True), (1, False))
# The order of the stacking weights.
LEARNERS = ("process", "quadratic", "trees", *(f"networks_{k}" for k in range(len(PENALTIES))))
# The first learner that is a kind of network.
NETWORKS = 3
LARGEST_SCALE = 10.0
ITERATIONS = 35  # of a kernel's fit; the last one gets some more


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
        trees: the boosted trees.
        networks: the neural members.
        stack: weight of each learner, in the order of ``LEARNERS``, none negative, sum 1.
    """

    mean: float
    scale: float
    process: Process
    quadratic: PairwiseRidge
    trees: Trees
    networks: Networks
    stack: Float[np.ndarray, "l"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """An ensemble and what was found out about it while it was fitted.

    Attributes:
        ensemble: fitted to all rows.
        held_out: prediction of each row by learners that did not see it, in utility units.
        fold: of each row.
    """

    ensemble: Ensemble
    held_out: Float[np.ndarray, "m"]
    fold: Int[np.ndarray, "m"]


def assign_folds(
    coalitions: Bool[np.ndarray, "m n"], folds: int, rng: np.random.Generator
) -> Int[np.ndarray, "m"]:
    """Returns a fold for each row: every stratum is spread evenly, repeats stay together.

    Args:
        coalitions: True = kept.
        folds: how many there are.
        rng: decides the order in which the rows of a stratum are dealt out.
    """
    distinct, position = np.unique(coalitions, axis=0, return_inverse=True)
    removed = (~distinct).sum(axis=1)
    fold = np.empty(len(distinct), dtype=np.int64)
    filled = np.zeros((coalitions.shape[1] + 1, folds))
    whole = np.zeros(folds)
    for row in np.lexsort((rng.random(len(distinct)), removed)):
        # The emptiest fold of the stratum; of several the one with fewest rows in all.
        place = int(np.lexsort((whole, filled[removed[row]]))[0])
        fold[row] = place
        filled[removed[row], place] += 1
        whole[place] += 1
    return fold[np.ravel(position)]


def fit_ensemble(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
    settings: FitSettings,
) -> Fitted:
    """Fits the ensemble, and every learner once more without each fold.

    Every fold's learners, their hyperparameters included, see only the other folds; so do the
    stacking weights of a fold's predictions (stacked generalisation, Wolpert 1992).

    Args:
        coalitions: True = kept.
        utilities: finite.
        weights: sample weights, not negative, some positive.
        settings: see ``FitSettings``.
    """
    m = len(coalitions)
    seed, folds = settings.seed, settings.folds
    signs = np.where(coalitions, 1.0, -1.0)
    share = weights * (np.count_nonzero(weights) / weights.sum())
    mean = float(np.average(utilities, weights=weights))
    scale = float(np.sqrt(np.average((utilities - mean) ** 2, weights=weights)))
    scale = scale if scale > 1e-12 * max(1.0, abs(mean)) else 1.0
    targets = (utilities - mean) / scale
    fold = assign_folds(coalitions, folds, stream(seed, "surrogate folds"))

    # One weighting a fold, and one with every row for the final learners.
    training = np.stack([share * (fold != k) for k in range(folds)] + [share])
    processes = _fit_processes(signs, targets, training, settings)
    quadratics = [fit_validated(signs, targets, weighting) for weighting in training]
    trees = [fit_trees(signs, targets, weighting) for weighting in training]

    # Held-out predictions need no more than one member a penalty, which is on the safe side.
    sizes = [len(PENALTIES)] * folds + [max(len(PENALTIES), settings.members)]
    owner = np.repeat(np.arange(len(training)), sizes)
    kinds = np.concatenate([np.arange(size) % len(PENALTIES) for size in sizes])
    scales = np.stack([_input_scales(process.kernel) for process in processes[0]])
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

    singles = [*processes, quadratics, trees]
    held_out = np.empty((m, len(singles) + len(PENALTIES)))
    for k in range(folds):
        rows = fold == k
        for column, fitted in enumerate(singles):
            held_out[rows, column] = fitted[k](signs[rows])
        for kind in range(len(PENALTIES)):
            chosen = (owner == k) & (kinds == kind)
            held_out[rows, len(singles) + kind] = predictions[chosen][:, rows].mean(axis=0)
    rivals = np.arange(held_out.shape[1]) < len(RIVALS)
    stacked = np.empty(m)
    for k in range(folds):
        rows = fold == k
        stacked[rows] = held_out[rows] @ stacking_weights(held_out, targets, training[k], rivals)
    stack = stacking_weights(held_out, targets, share, rivals)
    best = int(stack[rivals].argmax())
    ensemble = Ensemble(
        mean,
        scale,
        processes[best][-1],
        quadratics[-1],
        trees[-1],
        _select(networks, owner == folds),
        np.concatenate([stack[rivals].sum(keepdims=True), stack[~rivals]]),
    )
    return Fitted(ensemble, mean + scale * stacked, fold)


def member_mix(ensemble: Ensemble) -> Float[np.ndarray, "k"]:
    """Returns the weight of each neural member in the prediction."""
    kinds = ensemble.networks.setting
    counts = np.bincount(kinds, minlength=len(PENALTIES))
    return ensemble.stack[NETWORKS + kinds] / counts[kinds]


def _fit_processes(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    training: Float[np.ndarray, "f m"],
    settings: FitSettings,
) -> list[list[Process]]:
    """Returns each competing process, fitted to each fold's other rows and to all rows."""

    def fit(task: tuple[int, int]) -> Process:
        place, k = task
        final = k == settings.folds
        return fit_process(
            signs,
            targets,
            training[k],
            rng=stream(settings.seed, "surrogate process", k),
            evidence_rows=600 if final else 300,
            points=settings.process_points,
            iterations=ITERATIONS + 15 * final,
            components=RIVALS[place][0],
            tilted=RIVALS[place][1],
        )

    tasks = [(place, k) for place in range(len(RIVALS)) for k in range(len(training))]
    # One thread a fit: threads that wait for each other inside one are slow on a busy machine.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(_cores()) as pool:
        fitted = list(pool.map(fit, tasks))
    return [fitted[at : at + len(training)] for at in range(0, len(tasks), len(training))]


def _input_scales(kernel: Kernel) -> Float[np.ndarray, "n"]:
    lengths = kernel.variances @ kernel.lengths
    relative = np.sqrt(lengths / lengths.mean())
    return np.clip(relative, 1.0 / LARGEST_SCALE, LARGEST_SCALE)


def _select(networks: Networks, chosen: Bool[np.ndarray, "k"]) -> Networks:
    return Networks(**{name: array[chosen] for name, array in vars(networks).items()})


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
