"""What a Gaussian process expects of coalitions, for searches that choose what to measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

from sampling.streams import stream
from surrogate.process.kernel import Kernel, factor, fit_kernel

__all__ = ["ProcessBelief", "process_belief"]

ROWS, ROWS_A_PLAYER, ITERATIONS = 400, 16, 40
CHUNK = 8192


@dataclass(frozen=True, eq=False)
class ProcessBelief:
    """Posterior of a Gaussian process on coalitions, in units of the utility.

    Attributes:
        kernel: prior covariance of the standardised utilities.
        signs: of the measured coalitions, in {-1, 1}.
        factor: lower Cholesky factor of their covariance.
        weights: of the covariances with them in the mean.
        level: utility at which the process is 0.
        scale: utility units of one unit of the process.
    """

    kernel: Kernel
    signs: Float[np.ndarray, "m n"]
    factor: Float[np.ndarray, "m m"]
    weights: Float[np.ndarray, "m"]
    level: float
    scale: float

    def mean(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the expected utilities."""
        kernel, n = self.kernel, self.signs.shape[1]
        # Only products need every pair; the linear part and that of the sizes are summed once.
        linear = kernel.slopes * (self.weights @ self.signs)
        ladder = np.where(np.arange(n) < np.arange(n + 1)[:, None], 1.0, -1.0)
        by_size = (kernel.by_size(ladder, self.signs) + kernel.constant) @ self.weights
        parts = []
        for part in _parts(coalitions):
            smooth = part @ linear + by_size[(part > 0).sum(axis=1)]
            for product in kernel.products(part, self.signs):
                smooth += product @ self.weights
            parts.append(smooth)
        return self.level + self.scale * np.concatenate(parts)

    def deviation(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the standard deviations of utilities, what no smooth function explains included.

        That part belongs to the game: utilities are deterministic, and a set may be better than
        any smooth function of its players tells.
        """
        kernel, variances = self.kernel, []
        for part in _parts(coalitions):
            known = scipy.linalg.solve_triangular(
                self.factor, kernel(self.signs, part), lower=True, check_finite=False
            )
            left = kernel.diagonal(part) - (known**2).sum(axis=0)
            variances.append(np.maximum(left, 0.0) + kernel.rough(part))
        return self.scale * np.sqrt(np.concatenate(variances))


def process_belief(
    coalitions: Bool[np.ndarray, "m n"], utilities: Float[np.ndarray, "m"], seed: int, /
) -> ProcessBelief:
    """Fits a process with one influence and one asymmetry a player to measurements.

    The kernel is fitted to some hundreds of the measurements, drawn by the seed; the posterior
    rests on all of them.

    Args:
        coalitions: measured rows, True = kept.
        utilities: one a row, finite.
        seed: decides which measurements the kernel is fitted to.
    """
    signs, n = _signs(coalitions), coalitions.shape[1]
    level, scale = _level_and_scale(utilities)
    targets = (utilities - level) / scale
    order = np.arange(len(signs))
    rows = max(ROWS, ROWS_A_PLAYER * n)
    if len(order) > rows:
        order = stream(seed, "rows of a belief").permutation(len(order))[:rows]
    kernel = fit_kernel(signs[order], targets[order], np.ones(len(order)), iterations=ITERATIONS)
    root = factor(kernel, signs)
    weights = scipy.linalg.cho_solve((root, True), targets, check_finite=False)
    return ProcessBelief(kernel, signs, root, weights, level, scale)


def _level_and_scale(utilities: Float[np.ndarray, "m"]) -> tuple[float, float]:
    """Returns mean and standard deviation; 1 in place of a deviation that rounding alone makes."""
    largest = float(np.abs(utilities).max()) or 1.0
    parts = utilities / largest  # so that squares neither overflow nor vanish
    level, scale = float(parts.mean()), float(parts.std())
    return level * largest, scale * largest if scale > 1e-12 else 1.0


def _signs(coalitions: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B n"]:
    return np.where(coalitions, 1.0, -1.0)


def _parts(coalitions: Bool[np.ndarray, "B n"]) -> list[Float[np.ndarray, "b n"]]:
    """Signs of the coalitions, so many at a time that covariances stay in the cache's reach."""
    places = range(0, max(len(coalitions), 1), CHUNK)
    return [_signs(coalitions[at : at + CHUNK]) for at in places]
