"""What a Gaussian process knows about the Shapley values, and which coalition would tell most."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Int

from surrogate.process.kernel import Kernel, factor
from surrogate.process.quadrature import shapley_covariance, shapley_functional
from surrogate.process.threads import few_threads

__all__ = ["ValuePosterior", "choose", "value_posterior"]

LEAST_KNOWN = 1e-9  # share of a variance that rounding leaves
AHEAD = 64  # coalitions whose covariances are worked out together


@dataclass(frozen=True, eq=False)
class ValuePosterior:
    """Posterior of the Shapley values of a standardised game, the empty coalition left out.

    Attributes:
        kernel: prior covariance of the game.
        signs: of the measured coalitions, in {-1, 1}.
        factor: lower Cholesky factor of their covariance.
        functional: the factor's inverse times their covariances with the values.
        along: the factor's inverse times the standardised utilities.
        covariance: of the values.
    """

    kernel: Kernel
    signs: Float[np.ndarray, "m n"]
    factor: Float[np.ndarray, "m m"]
    functional: Float[np.ndarray, "m n"]
    along: Float[np.ndarray, "m"]
    covariance: Float[np.ndarray, "n n"]

    @property
    def mean(self) -> Float[np.ndarray, "n"]:
        """Of the values."""
        return self.along @ self.functional

    @cached_property
    def weights(self) -> Float[np.ndarray, "n m"]:
        """Of the measured utilities in the mean of each value."""
        return _backward(self.factor, self.functional).T

    @cached_property
    def precisions(self) -> Float[np.ndarray, "m"]:
        """One over the variance of each measured utility, given all others."""
        (invert,) = scipy.linalg.get_lapack_funcs(("trtri",), (self.factor,))
        with few_threads(len(self.factor)):
            inverse, _ = invert(self.factor, lower=1)
        return np.einsum("ij,ij->j", inverse, inverse)

    @cached_property
    def left_out_errors(self) -> Float[np.ndarray, "m"]:
        """Of the prediction of each measured utility from all others.

        In closed form (Rasmussen & Williams 2006, equation 5.12).
        """
        return _backward(self.factor, self.along) / self.precisions

    @property
    def left_out(self) -> Float[np.ndarray, "m"]:
        """The same in standard deviations that the process gives each."""
        return self.left_out_errors * np.sqrt(self.precisions)


def value_posterior(
    kernel: Kernel, signs: Float[np.ndarray, "m n"], targets: Float[np.ndarray, "m"]
) -> ValuePosterior:
    """Conditions the values on measured coalitions (Bayesian quadrature; O'Hagan 1991).

    Args:
        kernel: prior covariance of the game.
        signs: of the measured coalitions, in {-1, 1}.
        targets: standardised utilities, one a row.
    """
    with few_threads(len(signs)):
        root = factor(kernel, signs)
        functional = _forward(root, shapley_functional(kernel, signs).T)
        along = _forward(root, targets)
        spread = shapley_covariance(kernel) - functional.T @ functional
    return ValuePosterior(kernel, signs, root, functional, along, _nonnegative(spread))


def choose(
    posterior: ValuePosterior, pool: Bool[np.ndarray, "N n"], count: int
) -> Int[np.ndarray, "count"]:
    """Returns the places of coalitions in a pool, each the one that then tells most.

    Greedy: the next coalition is the one whose utility lowers the sum of the values' variances
    most. Utilities need not be known for that.

    Args:
        posterior: of what is measured.
        pool: distinct coalitions that are not measured.
        count: how many to choose, at most the size of the pool.
    """
    with few_threads(len(posterior.signs)):
        return _chosen(posterior, np.where(pool, 1.0, -1.0), count)


def _chosen(
    posterior: ValuePosterior, signs: Float[np.ndarray, "N n"], count: int
) -> Int[np.ndarray, "count"]:
    kernel = posterior.kernel
    known = len(posterior.signs)
    rows = np.empty((known + count, len(signs)))
    rows[:known] = _forward(posterior.factor, kernel(posterior.signs, signs))
    gain = shapley_functional(kernel, signs) - posterior.functional.T @ rows[:known]
    rough = kernel.rough(signs)
    prior = kernel.diagonal(signs) + rough
    variance = prior - (rows[:known] ** 2).sum(axis=0)
    least = np.maximum(1e-3 * rough, LEAST_KNOWN * prior)
    free = np.ones(len(signs), dtype=bool)
    chosen = np.empty(count, dtype=np.int64)
    # What is worth much now is soon chosen: one product of matrices serves several steps, each of
    # which adds what was chosen since.
    ahead: dict[int, Float[np.ndarray, "N"]] = {}
    since = known
    for step in range(count):
        worth = np.where(free, (gain**2).sum(axis=0) / np.maximum(variance, least), -1.0)
        best = int(worth.argmax())
        chosen[step], free[best] = best, False
        done = known + step
        if best not in ahead:
            some = min(AHEAD, count - step, len(signs) - 1)
            places = np.unique(np.append(np.argpartition(-worth, some)[:some], best))
            across = kernel(signs[places], signs) - rows[:done, places].T @ rows[:done]
            ahead, since = dict(zip(places.tolist(), across, strict=True)), done
        row = ahead[best] - rows[since:done, best] @ rows[since:done]
        row[best] += rough[best]
        root = np.sqrt(max(row[best], least[best]))
        row /= root
        rows[done] = row
        gain -= np.multiply.outer(gain[:, best] / root, row)
        variance -= row**2
    return chosen


def _forward(
    factor: Float[np.ndarray, "m m"], right: Float[np.ndarray, "m *c"]
) -> Float[np.ndarray, "m *c"]:
    return scipy.linalg.solve_triangular(factor, right, lower=True, check_finite=False)


def _backward(
    factor: Float[np.ndarray, "m m"], right: Float[np.ndarray, "m *c"]
) -> Float[np.ndarray, "m *c"]:
    return scipy.linalg.solve_triangular(factor, right, lower=True, trans=1, check_finite=False)


def _nonnegative(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Takes away what rounding made negative."""
    spectrum, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors * np.maximum(spectrum, 0.0)) @ vectors.T
