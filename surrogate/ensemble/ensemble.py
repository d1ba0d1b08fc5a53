"""The ensemble: unlike learners of one game, mixed by what they predict out of fold.

Three learners, each there for what the others cannot: a Gaussian process of all sets on a
logarithmic scale, the only one that tells far sets from each other; a process of the retention of
near sets, where no far set pulls; and networks with the model's own residual stream, which learn
what depends on depth and order, which no product over players holds. On 30 layers of a real model
they alone are off by .029, .020 and .025 nats within a nat of the whole model, their mixture by
.021, and the networks take its share of unexplained variance from .030 to .017
(reports/2026-11-27_real_model_cpu.md). Boosted trees, a ridge with pairs and multilayer perceptrons
were members before, and made it worse.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from sampling import stream
from surrogate.ensemble.network import Networks, train_networks
from surrogate.ensemble.processes import Fit, fit_targets, left_out_predictions
from surrogate.ensemble.stacking import stacking_weights
from surrogate.ensemble.warp import Warp, fit_warp

__all__ = [
    "FAR",
    "MEETING_EXCESS",
    "NEAR",
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

# Learners of each mixture, in the order of its weights.
FAR = ("process", "networks")
NEAR = ("process", "near process", "networks")
# Excess in units of the scale: below the first, sets are near; the mixtures meet at the second.
NEAR_EXCESS, MEETING_EXCESS = 4.0, 2.0
# How gently one mixture passes into the other, on the scale.
PASSAGE = 0.15
FEWEST_NEAR = 30
RIVAL_ROWS = 400


@dataclass(frozen=True)
class FitSettings:
    """How an ensemble is fitted; see ``SurrogateRegressor`` for the meaning of each."""

    folds: int
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
        networks: one a fold, each trained without it; the prediction is their mean.
        level: of the networks' standardised targets.
        spread: standard deviation of the same.
        far_mix: weight of each learner of ``FAR``.
        near_mix: weight of each learner of ``NEAR``.
    """

    warp: Warp
    process: Fit
    near: Fit | None
    networks: Networks
    level: float
    spread: float
    far_mix: Float[np.ndarray, "2"]
    near_mix: Float[np.ndarray, "3"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """An ensemble and what was found out about it while it was fitted.

    Attributes:
        ensemble: fitted to all rows.
        held_out: prediction of each row by learners that did not see it, on the scale.
        learners: the same of each learner of ``NEAR``.
        averaged: part of the squared error of ``held_out`` that the ensemble is rid of, since it
            takes the mean of networks of which one alone predicts a held-out row.
        fold: of each row.
    """

    ensemble: Ensemble
    held_out: Float[np.ndarray, "m"]
    learners: Float[np.ndarray, "m 3"]
    averaged: Float[np.ndarray, "m"]
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
                uneven=not near,
            )

        with ThreadPoolExecutor(2) as pool:
            far = pool.submit(process_of, False)
            near = process_of(True) if crowd else None
            wide = far.result()
        level = float(np.average(targets, weights=counts))
        spread = float(np.sqrt(np.average((targets - level) ** 2, weights=counts))) or 1.0
        networks, predicted = train_networks(
            coalitions,
            (targets - level) / spread,
            np.stack([counts * (fold != k) for k in range(settings.folds)]),
            _neighbours(coalitions, seed),
            seed=seed,
            width=settings.width,
            steps=settings.steps,
            batch=settings.batch,
        )
    rows = np.arange(len(fold))
    own = level + spread * predicted[fold, rows]
    beside = wide.held_out if near is None else scaled_retention(near.held_out, warp)
    learners = np.stack([wide.held_out, beside, own], axis=1)
    # The mean of all networks predicts later: unlike one, it is rid of most of their variance.
    averaged = np.zeros_like(learners)
    averaged[:, 2] = spread**2 * predicted[:, len(rows) :].var(axis=0)
    far_mix = stacking_weights(learners[:, [0, 2]], targets, share, averaged[:, [0, 2]])
    near_mix = np.insert(far_mix, 1, 0.0)
    # Rows are near by what is predicted of them, as they are when somebody asks.
    asked = counts * (learners @ near_mix < warp.of_excess(np.array([NEAR_EXCESS])))
    if near is not None and np.count_nonzero(asked) >= FEWEST_NEAR:
        near_mix = stacking_weights(learners, targets, asked, averaged)
    ensemble = Ensemble(warp, wide, near, networks, level, spread, far_mix, near_mix)
    held_out = mixed(learners[:, 0], learners[:, 1], learners[:, 2], ensemble)
    gate = _nearness(far_mix[0] * learners[:, 0] + far_mix[1] * own, warp)
    part = gate * near_mix[2] + (1.0 - gate) * far_mix[1]
    return Fitted(ensemble, held_out, learners, part**2 * averaged[:, 2], fold)


def mixed(
    process: Float[np.ndarray, "B"],
    near: Float[np.ndarray, "B"],
    networks: Float[np.ndarray, "B"],
    ensemble: Ensemble,
) -> Float[np.ndarray, "B"]:
    """Returns the mixture of the learners' predictions, all on the scale.

    Args:
        process: of the process of all sets.
        near: of that of near sets.
        networks: of the networks.
        ensemble: whose mixtures.
    """
    far = ensemble.far_mix[0] * process + ensemble.far_mix[1] * networks
    close = np.stack([process, near, networks], axis=-1) @ ensemble.near_mix
    return far + _nearness(far, ensemble.warp) * (close - far)


def _nearness(far: Float[np.ndarray, "B"], warp: Warp) -> Float[np.ndarray, "B"]:
    """Returns how much the mixture for near sets counts, 0 to 1, by what the other one says."""
    meeting = float(warp.of_excess(np.array([MEETING_EXCESS]))[0])
    return 1.0 / (1.0 + np.exp(np.clip((far - meeting) / PASSAGE, -50.0, 50.0)))


def _neighbours(coalitions: Bool[np.ndarray, "m n"], seed: int) -> Bool[np.ndarray, "m n"]:
    """Returns each coalition with one player changed over: sets like them that nobody measured."""
    rows, n = coalitions.shape
    changed = stream(seed, "neighbours of measured sets").integers(n, size=rows)
    return coalitions ^ (np.arange(n) == changed[:, None])


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
    """Returns the scale on which a process predicts best, a logarithm unless it is worse.

    Errors are of utilities and count as in `fit_ensemble`. Games of language models want the
    logarithm; a game whose utilities are not bounded by the whole's may not.
    """
    rows = stream(seed, "scale of a surrogate").permutation(np.flatnonzero(weights > 0))
    rows = rows[:RIVAL_ROWS]
    signs = np.where(coalitions[rows], 1.0, -1.0)
    errors = {}
    for kind in ("log", "raw"):
        warp = fit_warp(coalitions[weights > 0], utilities[weights > 0], kind)
        left_out = left_out_predictions(signs, warp.to_scale(utilities[rows]))
        counts = 1.0 / (1.0 + np.maximum(warp.excess(utilities[rows]), 0.0))
        errors[warp] = float((counts * (warp.to_utility(left_out) - utilities[rows]) ** 2).sum())
    return min(errors, key=lambda warp: errors[warp])
