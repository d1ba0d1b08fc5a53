"""What a Gaussian process expects of coalitions, for searches that choose what to measure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float

from sampling.streams import stream
from surrogate.process.evidence import fit_kernel
from surrogate.process.kernel import Kernel, covariance, factor
from surrogate.process.threads import few_threads

__all__ = ["ProcessBelief", "ProcessLearner"]

ROWS, ROWS_A_PLAYER, MOST_ROWS, ITERATIONS = 400, 8, 640, 40
CHUNK = 8192
BLOCK = 128  # rows that a factor grows by


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
        # Only products need every pair; the linear part and that of the sizes are summed once.
        linear, by_size, _ = self._changes
        parts = []
        with few_threads(len(self.signs)):
            for part in _parts(coalitions):
                smooth = part @ linear + by_size[(part > 0).sum(axis=1)]
                for product in self.kernel.products(part, self.signs):
                    smooth += product @ self.weights
                parts.append(smooth)
        return self.level + self.scale * np.concatenate(parts)

    def removals(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B n"]:
        """Returns the expected utilities once one more player is removed.

        Under a product over players a change of one player is a factor of its own, so that all
        neighbours of a coalition are one product of matrices. Entries of players that are removed
        already say nothing.
        """
        signs = _signs(coalitions)
        sizes = coalitions.sum(axis=1)
        linear, by_size, ratios = self._changes
        fewer = by_size[np.maximum(sizes - 1, 0)]
        smooth = (signs @ linear + fewer)[:, None] - 2.0 * linear
        with few_threads(len(self.signs)):
            for product, ratio in zip(self.kernel.products(signs, self.signs), ratios, strict=True):
                smooth += (product * self.weights) @ ratio.T
        return self.level + self.scale * smooth

    def exchanges(self, coalition: Bool[np.ndarray, "n"], /) -> Float[np.ndarray, "r k"]:
        """Returns the expected utilities once one removed player takes the place of a kept one.

        A row for each player that is removed now, a column for each that is kept, ascending.
        """
        signs = _signs(coalition[None])
        linear, by_size, ratios = self._changes
        inside = float(signs[0] @ linear) + by_size[int(coalition.sum())]
        smooth = inside + np.add.outer(2.0 * linear[~coalition], -2.0 * linear[coalition])
        with few_threads(len(self.signs)):
            for product, ratio in zip(self.kernel.products(signs, self.signs), ratios, strict=True):
                smooth += (product * self.weights / ratio[~coalition]) @ ratio[coalition].T
        return self.level + self.scale * smooth

    @cached_property
    def _changes(
        self,
    ) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n+1"], list[Float[np.ndarray, "n m"]]]:
        """Linear effects, the part of the size, and the products' factors of each removal."""
        kernel, n = self.kernel, self.signs.shape[1]
        linear = kernel.slopes * (self.weights @ self.signs)
        ladder = np.where(np.arange(n) < np.arange(n + 1)[:, None], 1.0, -1.0)
        by_size = (kernel.by_size(ladder, self.signs) + kernel.constant) @ self.weights
        # A player that differed from a measured coalition agrees with it now, or the reverse.
        ratios = [
            np.exp(tilts[:, None] - lengths[:, None] * self.signs.T)
            for lengths, tilts in zip(kernel.lengths, kernel.tilts, strict=True)
        ]
        return linear, by_size, ratios

    def deviation(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the standard deviations of utilities, what no smooth function explains included.

        That part belongs to the game: utilities are deterministic, and a set may be better than
        any smooth function of its players tells.
        """
        variances = []
        with few_threads(len(self.signs)):
            for part in _parts(coalitions):
                known = scipy.linalg.solve_triangular(
                    self.factor, self.kernel(self.signs, part), lower=True, check_finite=False
                )
                left = self.kernel.diagonal(part) - (known**2).sum(axis=0)
                variances.append(np.maximum(left, 0.0) + self.kernel.rough(part))
        return self.scale * np.sqrt(np.concatenate(variances))


class ProcessLearner:
    """Fits a process with one influence and one asymmetry a player to growing measurements.

    What it has worked out for the same first measurements is remembered: the kernel, and the
    factor of their covariance, to which new measurements only add rows. Both follow from the
    arguments alone, whatever was asked before.
    """

    def __init__(self) -> None:
        """Knows nothing yet."""
        self._kernel: tuple[bytes, Kernel] | None = None
        self._factor: tuple[Kernel, Float[np.ndarray, "p n"], Float[np.ndarray, "p p"]] | None
        self._factor = None

    def __call__(
        self,
        coalitions: Bool[np.ndarray, "m n"],
        utilities: Float[np.ndarray, "m"],
        seed: int,
        /,
        studied: Float[np.ndarray, "g"] | None = None,
    ) -> ProcessBelief:
        """Returns the posterior given all measurements.

        Args:
            coalitions: measured rows, True = kept.
            utilities: one a row, finite.
            seed: decides which measurements the kernel is fitted to, some hundreds at most.
            studied: utilities of the first ``g`` rows that the kernel is fitted to, on a scale of
                their own; all of them as they are when omitted.
        """
        signs = _signs(coalitions)
        studied = utilities if studied is None else studied
        level, scale = _level_and_scale(utilities)
        kernel = self._fitted(signs[: len(studied)], studied, seed)
        with few_threads(len(signs)):
            root = self._grown(kernel, signs)
            weights = scipy.linalg.cho_solve(
                (root, True), (utilities - level) / scale, check_finite=False
            )
        return ProcessBelief(kernel, signs, root, weights, level, scale)

    def _fitted(
        self, signs: Float[np.ndarray, "g n"], utilities: Float[np.ndarray, "g"], seed: int
    ) -> Kernel:
        asked = b"".join((signs.tobytes(), utilities.tobytes(), str(seed).encode()))
        if self._kernel is None or self._kernel[0] != asked:
            level, scale = _level_and_scale(utilities)
            targets, order = (utilities - level) / scale, np.arange(len(signs))
            rows = min(MOST_ROWS, max(ROWS, ROWS_A_PLAYER * signs.shape[1]))
            if len(order) > rows:
                order = stream(seed, "rows of a belief").permutation(len(order))[:rows]
            with few_threads(len(order)):
                kernel = fit_kernel(
                    signs[order], targets[order], np.ones(len(order)), iterations=ITERATIONS
                )
            self._kernel = asked, kernel
        return self._kernel[1]

    def _grown(self, kernel: Kernel, signs: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m m"]:
        """The factor, block by block of fixed places, so that the way here leaves no trace."""
        total, whole = len(signs), len(signs) // BLOCK * BLOCK
        root, done = np.zeros((total, total)), 0
        if self._factor is not None and self._factor[0] is kernel:
            _, known, before = self._factor
            done = min(len(known), whole)
            if not np.array_equal(known[:done], signs[:done]):
                done = 0
            root[:done, :done] = before[:done, :done]
        try:
            for at in range(done, total, BLOCK):
                extend(root, kernel, signs, at, min(at + BLOCK, total))
        except np.linalg.LinAlgError:
            return factor(kernel, signs)
        self._factor = kernel, signs[:whole], root[:whole, :whole]
        return root


def extend(
    root: Float[np.ndarray, "m m"],
    kernel: Kernel,
    signs: Float[np.ndarray, "m n"],
    start: int,
    stop: int,
) -> None:
    """Fills rows of a Cholesky factor whose earlier rows are filled.

    Args:
        root: the factor, changed in place.
        kernel: of the covariance.
        signs: of all coalitions, in {-1, 1}.
        start: first row to fill.
        stop: the row after the last.

    Raises:
        LinAlgError: if rounding leaves the covariance without a factor.
    """
    new = signs[start:stop]
    own = covariance(kernel, new)
    if start:
        across = scipy.linalg.solve_triangular(
            root[:start, :start], kernel(signs[:start], new), lower=True, check_finite=False
        )
        root[start:stop, :start] = across.T
        own -= across.T @ across
    root[start:stop, start:stop] = np.linalg.cholesky(own)


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
