"""A Gaussian process on coalitions with one length scale for each player."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.optimize import minimize

__all__ = ["Process", "fit_process"]

LEAST_NOISE = 1e-5


@dataclass(frozen=True, eq=False)
class Process:
    """Posterior mean of a Gaussian process on signs ``z`` in {-1, 1}.

    The covariance of two coalitions is ``variance * exp(-sum_i lengths_i [z_i != z'_i]) +
    sum_i slopes_i z_i z'_i + constant``: every player has its own influence, and the product
    form holds interactions of all orders, damped with their order.

    Attributes:
        lengths: decay for a player that differs (an inverse length scale).
        slopes: prior variance of each player's linear effect.
        variance: prior variance of the product part.
        constant: prior variance of the level.
        noise: variance of the targets around the function.
        points: the signs of the measured coalitions.
        weights: their coefficients in the posterior mean.
    """

    lengths: Float[np.ndarray, "n"]
    slopes: Float[np.ndarray, "n"]
    variance: float
    constant: float
    noise: float
    points: Float[np.ndarray, "p n"]
    weights: Float[np.ndarray, "p"]

    def __call__(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the posterior mean, one value a row."""
        parts = [
            self._covariance(signs[at : at + 4096]) @ self.weights
            for at in range(0, len(signs), 4096)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _covariance(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B p"]:
        product = self.variance * _product(signs, self.points, self.lengths)
        return product + (signs * self.slopes) @ self.points.T + self.constant


def fit_process(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
    *,
    rng: np.random.Generator,
    evidence_rows: int = 600,
    points: int = 2048,
    iterations: int = 50,
) -> Process:
    """Returns the process whose hyperparameters maximise the penalised marginal likelihood.

    The gradient is analytic (Rasmussen & Williams 2006, equations 2.30 and 5.9). A weak
    log-normal prior keeps the hyperparameters apart from each other's degenerate corners when
    coalitions are few.

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: standardised utilities.
        weights: a row's noise variance is ``noise / weight``; rows of weight 0 are left out.
        rng: chooses the rows where there are more than the limits.
        evidence_rows: most rows in the marginal likelihood (cost grows with the cube).
        points: most rows in the posterior mean.
        iterations: most L-BFGS iterations.
    """
    used = np.flatnonzero(weights > 0)
    order = used if len(used) <= min(points, evidence_rows) else rng.permutation(used)
    order = order[:points]
    small = order[:evidence_rows]
    prior_mean, prior_precision = _prior(signs.shape[1])
    slack = 1.0 / (weights[order] / weights[used].mean())

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _evidence(theta, signs[small], targets[small], slack[: len(small)])
        apart = theta - prior_mean
        value += 0.5 * float(apart @ (prior_precision * apart))
        return value, gradient + prior_precision * apart

    n = signs.shape[1]
    bounds = [(-12.0, 3.0)] * (2 * n) + [(-8.0, 6.0), (-8.0, 6.0), (np.log(LEAST_NOISE), 1.0)]
    found = minimize(
        objective,
        prior_mean,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": iterations},
    )
    lengths, slopes, variance, constant, noise = _unpack(found.x, n)
    covariance = variance * _product(signs[order], signs[order], lengths)
    covariance += (signs[order] * slopes) @ signs[order].T + constant
    covariance[np.diag_indices(len(order))] += noise * slack
    factor = scipy.linalg.cho_factor(covariance, lower=True, overwrite_a=True, check_finite=False)
    solution = scipy.linalg.cho_solve(factor, targets[order], check_finite=False)
    return Process(lengths, slopes, variance, constant, noise, signs[order], solution)


def _prior(n: int) -> tuple[Float[np.ndarray, "h"], Float[np.ndarray, "h"]]:
    mean = np.concatenate(
        [
            np.full(n, np.log(1.0 / n)),
            np.full(n, np.log(0.5 / n)),
            np.log([0.5, 1.0, 1e-3]),
        ]
    )
    spread = np.concatenate([np.full(n, 1.5), np.full(n, 2.0), np.full(3, 3.0)])
    return mean, spread**-2


def _unpack(
    theta: Float[np.ndarray, "h"], n: int
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"], float, float, float]:
    values = np.exp(theta)
    variance, constant, noise = map(float, values[2 * n :])
    return values[:n], values[n : 2 * n], variance, constant, noise


def _product(
    left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"], lengths: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "B p"]:
    # [z != z'] = (1 - z z') / 2 turns the distance into one matrix product.
    exponent = (left * (0.5 * lengths)) @ right.T
    exponent -= 0.5 * lengths.sum()
    return np.exp(exponent, out=exponent)


def _evidence(
    theta: Float[np.ndarray, "h"],
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    slack: Float[np.ndarray, "m"],
) -> tuple[float, Float[np.ndarray, "h"]]:
    """Returns minus the log marginal likelihood (up to a constant) and its gradient."""
    m, n = signs.shape
    lengths, slopes, variance, constant, noise = _unpack(theta, n)
    product = variance * _product(signs, signs, lengths)
    covariance = product + (signs * slopes) @ signs.T + constant
    covariance[np.diag_indices(m)] += noise * slack
    decompose, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (covariance,))
    factor, failed = decompose(covariance, lower=1, overwrite_a=1)
    if failed:
        return 1e10, np.zeros_like(theta)
    solution = scipy.linalg.cho_solve((factor, True), targets, check_finite=False)
    value = 0.5 * float(targets @ solution) + float(np.log(np.diag(factor)).sum())

    inverse, _ = invert(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    sensitivity = 0.5 * (inverse - np.outer(solution, solution))
    tilted = sensitivity * product
    total = float(tilted.sum())
    by_length = -0.5 * (total - ((tilted @ signs) * signs).sum(axis=0)) * lengths
    by_slope = ((sensitivity @ signs) * signs).sum(axis=0) * slopes
    by_noise = float(np.diag(sensitivity) @ slack) * noise
    rest = [total, float(sensitivity.sum()) * constant, by_noise]
    return value, np.concatenate([by_length, by_slope, rest])
