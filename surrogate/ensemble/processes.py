"""The Gaussian processes of the surrogate: one of all sets, one of those near the whole model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from sampling import stream
from surrogate.process.evidence import fit_kernel
from surrogate.process.kernel import Kernel, Process, covariance

__all__ = ["Fit", "fit_targets", "left_out_predictions"]

# The kernel is found on a part of the rows, then refined on more of them.
ROUGH_ROWS, ROUGH_ITERATIONS = 400, 40
FINE_ROWS, FINE_ITERATIONS = 600, 25
COMPONENTS = 2
# A component more needs so many rows a player.
ROWS_FOR_TWO = 12
# Rows that a kernel is learnt from in order to predict others.
FEWEST_ROWS = 300


@dataclass(frozen=True, eq=False)
class Fit:
    """A process of some target.

    Attributes:
        process: posterior mean of the standardised targets.
        mean: of the targets.
        scale: their standard deviation.
        held_out: prediction of each row from the rows of other folds, in units of the target.
    """

    process: Process
    mean: float
    scale: float
    held_out: Float[np.ndarray, "m"]

    def __call__(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the expected target of each row of signs."""
        return self.mean + self.scale * self.process(signs)


def fit_targets(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
    fold: Int[np.ndarray, "m"],
    *,
    points: int,
    seed: int,
) -> Fit:
    """Fits a process to the rows of positive weight and predicts every row without its fold.

    A row's prediction without its fold is that of a posterior of all other folds, in closed form
    (Rasmussen & Williams 2006, section 5.4.2), under a kernel that was fitted to other folds only:
    of many hyperparameters, those that have seen a row flatter its prediction. One kernel serves
    all folds of a group, as long as enough rows are left to learn it from.

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: what to learn.
        weights: a row's noise variance is that of the process over its weight; 0 leaves it out.
        fold: of each row.
        points: most rows in the posterior; of more, a random part.
        seed: of the choice of rows.
    """
    used = np.flatnonzero(weights > 0)
    mean = float(np.average(targets[used], weights=weights[used]))
    scale = float(np.sqrt(np.average((targets[used] - mean) ** 2, weights=weights[used])))
    scale = scale if scale > 1e-12 * max(1.0, abs(mean)) else 1.0
    order = stream(seed, "rows of a surrogate's process").permutation(used)[:points]
    known, wanted = signs[order], (targets[order] - mean) / scale
    n = signs.shape[1]
    components = COMPONENTS if len(order) >= ROWS_FOR_TWO * n else 1
    slack = weights[used].mean() / weights[order]

    def learnt(rows: Int[np.ndarray, "p"], iterations: int, begin: Kernel | None = None) -> Kernel:
        return fit_kernel(
            known[rows],
            wanted[rows],
            slack[rows],
            iterations=iterations,
            components=components,
            ordered=True,
            start=begin,
        )

    everything = np.arange(len(order))
    rough = learnt(everything[:ROUGH_ROWS], ROUGH_ITERATIONS)
    kernel = learnt(everything[:FINE_ROWS], FINE_ITERATIONS, rough)
    process = Process(kernel, known, _solved(kernel, known, wanted, slack)[1])
    held_out = mean + scale * process(signs)
    own_fold = fold[order]
    groups = _kernel_groups(len(order), int(fold.max()) + 1)
    for group in range(groups):
        rest = everything[own_fold % groups != group]
        if len(rest) in (0, len(order)):
            continue
        inverse, solution = _solved(
            learnt(rest[:ROUGH_ROWS], ROUGH_ITERATIONS), known, wanted, slack
        )
        for k in np.unique(own_fold[own_fold % groups == group]):
            rows = np.flatnonzero(own_fold == k)
            errors = scipy.linalg.solve(
                inverse[np.ix_(rows, rows)], solution[rows], assume_a="pos", check_finite=False
            )
            held_out[order[rows]] = targets[order[rows]] - scale * errors
    return Fit(process, mean, scale, held_out)


def _kernel_groups(rows: int, folds: int) -> int:
    """Returns into how few groups folds can be put so that the others hold enough rows."""
    enough = (g for g in range(2, folds) if rows * (g - 1) >= FEWEST_ROWS * g)
    return next(enough, folds)


def left_out_predictions(
    signs: Float[np.ndarray, "m n"], targets: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "m"]:
    """Returns what a roughly fitted process expects of each row from all others.

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: what to learn.
    """
    mean, scale = float(targets.mean()), float(targets.std()) or 1.0
    wanted = (targets - mean) / scale
    even = np.ones(len(targets))
    kernel = fit_kernel(
        signs[:ROUGH_ROWS], wanted[:ROUGH_ROWS], even[:ROUGH_ROWS], iterations=FINE_ITERATIONS
    )
    inverse, solution = _solved(kernel, signs, wanted, even)
    return targets - scale * solution / np.diag(inverse)


def _solved(
    kernel: Kernel,
    signs: Float[np.ndarray, "p n"],
    targets: Float[np.ndarray, "p"],
    slack: Float[np.ndarray, "p"],
) -> tuple[Float[np.ndarray, "p p"], Float[np.ndarray, "p"]]:
    """Returns the inverse of the covariance of measurements and its product with the targets."""
    total = covariance(kernel, signs, slack)
    factor = scipy.linalg.cholesky(total, lower=True, overwrite_a=True, check_finite=False)
    (invert,) = scipy.linalg.get_lapack_funcs(("potri",), (factor,))
    inverse, _ = invert(factor, lower=1)
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    return inverse, scipy.linalg.cho_solve((factor, True), targets, check_finite=False)
