"""The ensemble: unlike learners of one game, mixed by what they predict out of fold.

Three learners, each there for what the others cannot: a Gaussian process of all sets on a
logarithmic scale, the only one that tells far sets from each other; a process of the retention of
near sets, where no far set pulls; and networks with the model's own residual stream, which lower
the error of both (figures by learner: reports/2026-11-28_surrogate_cpu.md). Boosted trees, a ridge
with pairs and multilayer perceptrons were members before, and made it worse.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from sampling import stream
from surrogate.ensemble.network import Networks, compile_training, train_networks
from surrogate.ensemble.processes import Fit, fit_targets, left_out_predictions
from surrogate.ensemble.stacking import stacking_weights
from surrogate.ensemble.warp import Warp, fit_warp

__all__ = [
    "LEARNERS",
    "MEETING_EXCESS",
    "NEAR_EXCESS",
    "PASSAGE",
    "Ensemble",
    "FitSettings",
    "Fitted",
    "assign_folds",
    "fit_ensemble",
    "mixed",
    "scaled_retention",
]

# The networks are mixed with the first far from the whole model and with the second near it.
LEARNERS = ("process", "near process", "networks")
# Excess in units of the scale: below the first, sets are near; the mixtures meet at the second.
NEAR_EXCESS, MEETING_EXCESS = 4.0, 2.0
# How gently one mixture passes into the other, on the scale.
PASSAGE = 0.15
# Sets that are nearer than this count alike in the mixture for near sets.
LEVEL_EXCESS = 0.1
FEWEST_NEAR = 30
# A raw scale is taken where its squared errors are less than this share of the logarithm's.
CLEARLY_BETTER = 0.5
RIVAL_ROWS = 250


@dataclass(frozen=True)
class FitSettings:
    """How an ensemble is fitted; see ``SurrogateRegressor`` for the meaning of each."""

    folds: int
    networks: bool
    width: int
    steps: int
    batch: int
    process_points: int
    seed: int


@dataclass(frozen=True, eq=False)
class Ensemble:
    """A fitted ensemble; everything is on the scale of ``warp``.

    Attributes:
        warp: the scale.
        process: of all sets.
        near: of the retention ``exp(-excess)`` of near sets; None where they are too few.
        networks: one a fold, each trained without it; the prediction is their mean. None where
            processes are all there is.
        level: of the networks' standardised targets.
        spread: standard deviation of the same.
        far_mix: weights of the process of all sets and of the networks.
        near_mix: weights of the process of near sets, or of all where there is none, and of the
            networks.
    """

    warp: Warp
    process: Fit
    near: Fit | None
    networks: Networks | None
    level: float
    spread: float
    far_mix: Float[np.ndarray, "2"]
    near_mix: Float[np.ndarray, "2"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """An ensemble and what was found out about it while it was fitted.

    Attributes:
        ensemble: fitted to all rows.
        held_out: prediction of each row by learners that did not see it, on the scale.
        learners: the same of each of ``LEARNERS``; where there is no process of near sets, or no
            network, the process of all sets stands in for it.
        fold: of each row.
    """

    ensemble: Ensemble
    held_out: Float[np.ndarray, "m"]
    learners: Float[np.ndarray, "m 3"]
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
    """Fits the learners and mixes them by their predictions out of fold (Wolpert 1992).

    Errors count by how near a set is to the whole model, ``1 / (1 + excess)``: a surrogate is asked
    about sets that somebody might deploy.

    Args:
        coalitions: True = kept.
        utilities: finite.
        weights: sample weights, not negative, some positive.
        settings: see ``FitSettings``.
    """
    seed = settings.seed
    signs = np.where(coalitions, 1.0, -1.0)
    share = weights * (np.count_nonzero(weights) / weights.sum())
    fold = assign_folds(coalitions, settings.folds, stream(seed, "surrogate folds"))
    # One thread a fit: threads that wait for each other inside one are slow on a busy machine.
    with threadpool_limits(1, "blas"):
        warp = _chosen_warp(coalitions, utilities, share, seed)
        targets, excess = warp.to_scale(utilities), warp.excess(utilities)
        counts = share / (1.0 + np.maximum(excess, 0.0))
        close = share * (excess < NEAR_EXCESS)
        crowd = np.count_nonzero(close) >= FEWEST_NEAR

        def process_of(near: bool) -> Fit:
            return fit_targets(
                signs,
                np.exp(-excess) if near else targets,
                close if near else share,
                fold,
                points=settings.process_points,
                seed=seed,
            )

        with ThreadPoolExecutor(2) as pool:
            far = pool.submit(process_of, False)
            if settings.networks:
                pool.submit(
                    compile_training,
                    *(len(coalitions), coalitions.shape[1], settings.folds),
                    width=settings.width,
                    batch=settings.batch,
                )
            near = process_of(True) if crowd else None
            wide = far.result()
        level = float(np.average(targets, weights=counts))
        spread = float(np.sqrt(np.average((targets - level) ** 2, weights=counts))) or 1.0
        networks, own = None, wide.held_out
        if settings.networks:
            networks, predicted = train_networks(
                coalitions,
                (targets - level) / spread,
                np.stack([counts * (fold != k) for k in range(settings.folds)]),
                seed=seed,
                width=settings.width,
                steps=settings.steps,
                batch=settings.batch,
            )
            own = level + spread * predicted[fold, np.arange(len(fold))]
    beside = wide.held_out if near is None else scaled_retention(near.held_out, warp)

    def mix(process: Float[np.ndarray, "m"], rows: Float[np.ndarray, "m"]) -> np.ndarray:
        if networks is None:
            return np.array([1.0, 0.0])
        return stacking_weights(np.stack([process, own], axis=1), targets, rows)

    far_mix = near_mix = mix(wide.held_out, share)
    # Near sets count by what is predicted of them, as they do when somebody asks, and their errors
    # relative to how near they are.
    gate = _nearness(far_mix[0] * wide.held_out + far_mix[1] * own, warp)
    asked = share * gate / (LEVEL_EXCESS + np.maximum(excess, 0.0)) ** 2
    if near is not None and gate.sum() >= FEWEST_NEAR:
        near_mix = mix(beside, asked)
    ensemble = Ensemble(warp, wide, near, networks, level, spread, far_mix, near_mix)
    learners = np.stack([wide.held_out, beside, own], axis=1)
    return Fitted(ensemble, mixed(wide.held_out, beside, own, ensemble), learners, fold)


def mixed(
    process: Float[np.ndarray, "B"],
    near: Float[np.ndarray, "B"],
    networks: Float[np.ndarray, "B"],
    ensemble: Ensemble,
) -> Float[np.ndarray, "B"]:
    """Returns the mixture of the learners' predictions, all on the scale.

    Args:
        process: of the process of all sets.
        near: of that of near sets, or of all where there is none.
        networks: of the networks.
        ensemble: whose mixtures.
    """
    far = ensemble.far_mix[0] * process + ensemble.far_mix[1] * networks
    close = ensemble.near_mix[0] * near + ensemble.near_mix[1] * networks
    return far + _nearness(far, ensemble.warp) * (close - far)


def _nearness(far: Float[np.ndarray, "B"], warp: Warp) -> Float[np.ndarray, "B"]:
    """Returns how much the mixture for near sets counts, 0 to 1, by what the other one says."""
    meeting = float(warp.of_excess(np.array([MEETING_EXCESS]))[0])
    return 1.0 / (1.0 + np.exp(np.clip((far - meeting) / PASSAGE, -50.0, 50.0)))


def scaled_retention(kept: Float[np.ndarray, "B"], warp: Warp) -> Float[np.ndarray, "B"]:
    """Returns predicted retentions on the scale; what keeps less than a near set does, as that.

    Args:
        kept: retention.
        warp: the scale.
    """
    return warp.of_excess(-np.log(np.maximum(kept, np.exp(-NEAR_EXCESS))))


def _chosen_warp(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
    seed: int,
) -> Warp:
    """Returns the scale on which a process predicts best, a logarithm unless it is clearly worse.

    Errors are of utilities and count relative to ``1 + excess``. Games of language models want the
    logarithm, and errors of a few far sets decide nothing; a game whose utilities are not bounded
    by the whole's may want none.
    """
    rows = stream(seed, "scale of a surrogate").permutation(np.flatnonzero(weights > 0))
    rows = rows[:RIVAL_ROWS]
    signs = np.where(coalitions[rows], 1.0, -1.0)
    errors = {}
    for kind in ("log", "raw"):
        warp = fit_warp(coalitions[weights > 0], utilities[weights > 0], kind)
        left_out = left_out_predictions(signs, warp.to_scale(utilities[rows]))
        counts = 1.0 / (1.0 + np.maximum(warp.excess(utilities[rows]), 0.0)) ** 2
        errors[warp] = float((counts * (warp.to_utility(left_out) - utilities[rows]) ** 2).sum())
    log, raw = errors
    return raw if errors[raw] < CLEARLY_BETTER * errors[log] else log
