"""What a Gaussian process knows about the Shapley values, and which coalition would tell most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Int

from surrogate.process.kernel import Kernel, covariance
from surrogate.process.quadrature import shapley_covariance, shapley_functional

__all__ = ["ValuePosterior", "choose", "value_posterior"]


@dataclass(frozen=True, eq=False)
class ValuePosterior:
    """Posterior of the Shapley values of a standardised game, the empty coalition left out.

    Attributes:
        kernel: prior covariance of the game.
        signs: of the measured coalitions, in {-1, 1}.
        factor: lower Cholesky factor of their covariance.
        functional: the factor's inverse times their covariances with the values.
        mean: of the values.
        covariance: of the values.
        weights: of the measured utilities in the mean of each value.
        left_out_errors: of the prediction of each measured utility from all others.
        left_out: the same in standard deviations that the process gives each.
    """

    kernel: Kernel
    signs: Float[np.ndarray, "m n"]
    factor: Float[np.ndarray, "m m"]
    functional: Float[np.ndarray, "m n"]
    mean: Float[np.ndarray, "n"]
    covariance: Float[np.ndarray, "n n"]
    weights: Float[np.ndarray, "n m"]
    left_out_errors: Float[np.ndarray, "m"]
    left_out: Float[np.ndarray, "m"]


def value_posterior(
    kernel: Kernel, signs: Float[np.ndarray, "m n"], targets: Float[np.ndarray, "m"]
) -> ValuePosterior:
    """Conditions the values on measured coalitions (Bayesian quadrature; O'Hagan 1991).

    Args:
        kernel: prior covariance of the game.
        signs: of the measured coalitions, in {-1, 1}.
        targets: standardised utilities, one a row.
    """
    factor = np.linalg.cholesky(covariance(kernel, signs))
    functional = _forward(factor, shapley_functional(kernel, signs).T)
    along = _forward(factor, targets)
    spread = shapley_covariance(kernel) - functional.T @ functional
    # Leave-one-out errors in closed form (Rasmussen & Williams 2006, equation 5.12).
    inverse = _forward(factor, np.eye(len(signs)))
    precision = (inverse**2).sum(axis=0)
    errors = (along @ inverse) / precision
    return ValuePosterior(
        kernel=kernel,
        signs=signs,
        factor=factor,
        functional=functional,
        mean=along @ functional,
        covariance=_nonnegative(spread),
        weights=functional.T @ inverse,
        left_out_errors=errors,
        left_out=errors * np.sqrt(precision),
    )


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
    kernel = posterior.kernel
    signs = np.where(pool, 1.0, -1.0)
    known = len(posterior.signs)
    rows = np.empty((known + count, len(pool)))
    rows[:known] = _forward(posterior.factor, kernel(posterior.signs, signs))
    gain = shapley_functional(kernel, signs) - posterior.functional.T @ rows[:known]
    variance = kernel.diagonal(signs) + kernel.noise - (rows[:known] ** 2).sum(axis=0)
    least = 1e-3 * kernel.noise
    free = np.ones(len(pool), dtype=bool)
    chosen = np.empty(count, dtype=np.int64)
    for step in range(count):
        worth = (gain**2).sum(axis=0) / np.maximum(variance, least)
        best = int(np.where(free, worth, -1.0).argmax())
        chosen[step], free[best] = best, False
        done = known + step
        row = kernel(signs[best : best + 1], signs)[0]
        row[best] += kernel.noise
        row -= rows[:done, best] @ rows[:done]
        root = np.sqrt(max(row[best], least))
        row /= root
        rows[done] = row
        gain -= np.multiply.outer(gain[:, best] / root, row)
        variance -= row**2
    return chosen


def _forward(
    factor: Float[np.ndarray, "m m"], right: Float[np.ndarray, "m *c"]
) -> Float[np.ndarray, "m *c"]:
    return scipy.linalg.solve_triangular(factor, right, lower=True, check_finite=False)


def _nonnegative(covariance: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Takes away what rounding made negative."""
    spectrum, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return (vectors * np.maximum(spectrum, 0.0)) @ vectors.T
