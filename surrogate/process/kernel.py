"""A Gaussian process on coalitions: every player has an influence and an asymmetry of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.optimize import minimize

__all__ = ["Kernel", "Process", "covariance", "fit_process"]

LEAST_NOISE = 1e-8
CHUNK = 4096
# Prior of the logarithms: lengths of each component, then the spread of each kind.
TYPICAL_LENGTHS = (1.0, 0.3)
TYPICAL_VARIANCES = (0.5, 0.15)
LENGTH_SPREAD, TILT_SPREAD, SLOPE_SPREAD, MISC_SPREAD = 1.5, 0.3, 2.0, 3.0
NO_SPREAD = 1e-3


@dataclass(frozen=True, eq=False)
class Kernel:
    """Covariance of two coalitions with signs ``z, z'`` in {-1, 1} (1 = kept).

    ``sum_c variances_c exp(-sum_i lengths_ci [z_i != z'_i] + sum_i tilts_ci (a_i + a'_i)) +
    sum_i slopes_i z_i z'_i + curve exp(-bend |s - s'|) + constant`` with ``a_i = [z_i = -1]`` and
    ``s`` the number of kept players; and ``noise`` more for a coalition with itself: what no smooth
    function explains belongs to the game, since its utilities are deterministic. The product over
    players holds interactions of all orders, damped with their order; a tilt makes the game wilder
    (or tamer) where its player is gone.

    Attributes:
        lengths: decay for a player that differs (an inverse length scale), by component.
        tilts: growth of the standard deviation's logarithm with each absent player.
        variances: prior variance of each product part.
        slopes: prior variance of each player's linear effect.
        curve: prior variance of a function of the number of kept players alone.
        bend: its decay a player.
        constant: prior variance of the level.
        noise: variance of the targets around the smooth function.
    """

    lengths: Float[np.ndarray, "c n"]
    tilts: Float[np.ndarray, "c n"]
    variances: Float[np.ndarray, "c"]
    slopes: Float[np.ndarray, "n"]
    curve: float
    bend: float
    constant: float
    noise: float

    def __call__(
        self, left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"]
    ) -> Float[np.ndarray, "B p"]:
        """Returns the covariances of the smooth function."""
        total = (left * self.slopes) @ right.T
        total += self.constant
        total += self.by_size(left, right)
        for part in self.products(left, right):
            total += part
        return total

    def by_size(
        self, left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"]
    ) -> Float[np.ndarray, "B p"]:
        """Returns the part that depends on the numbers of kept players alone."""
        return self.curve * np.exp(-self.bend * _apart(left, right))

    def products(
        self, left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"]
    ) -> list[Float[np.ndarray, "B p"]]:
        """Returns the product part of each component."""
        parts = []
        for lengths, tilts, variance in zip(self.lengths, self.tilts, self.variances, strict=True):
            # [z != z'] = (1 - z z') / 2 turns the distance into one matrix product.
            exponent = (left * (0.5 * lengths)) @ right.T
            exponent -= (0.5 * left @ tilts)[:, None]
            exponent += (tilts.sum() - 0.5 * right @ tilts - 0.5 * lengths.sum())[None, :]
            np.exp(exponent, out=exponent)
            exponent *= variance
            parts.append(exponent)
        return parts

    def diagonal(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the variance of the smooth function at each coalition."""
        growth = np.exp((1.0 - signs) @ self.tilts.T)
        return growth @ self.variances + self.slopes.sum() + self.curve + self.constant


@dataclass(frozen=True, eq=False)
class Process:
    """Posterior mean of a Gaussian process at signs in {-1, 1}.

    Attributes:
        kernel: the covariance.
        points: the signs of the measured coalitions.
        weights: their coefficients in the posterior mean.
    """

    kernel: Kernel
    points: Float[np.ndarray, "p n"]
    weights: Float[np.ndarray, "p"]

    def __call__(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the posterior mean of the smooth function, one value a row."""
        parts = [
            self.kernel(signs[at : at + CHUNK], self.points) @ self.weights
            for at in range(0, len(signs), CHUNK)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)


def fit_process(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
    *,
    rng: np.random.Generator,
    evidence_rows: int = 600,
    points: int = 2048,
    iterations: int = 50,
    components: int = 1,
    tilted: bool = True,
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
        components: product parts of the kernel, 1 or 2.
        tilted: whether the game may be wilder where a player is gone.
    """
    used = np.flatnonzero(weights > 0)
    order = used if len(used) <= min(points, evidence_rows) else rng.permutation(used)
    order = order[:points]
    slack = weights[used].mean() / weights[order]
    kernel = fit_kernel(
        signs[order[:evidence_rows]],
        targets[order[:evidence_rows]],
        slack[:evidence_rows],
        iterations=iterations,
        components=components,
        tilted=tilted,
    )
    factor = scipy.linalg.cho_factor(
        covariance(kernel, signs[order], slack), lower=True, overwrite_a=True, check_finite=False
    )
    solution = scipy.linalg.cho_solve(factor, targets[order], check_finite=False)
    return Process(kernel, signs[order], solution)


def covariance(
    kernel: Kernel, signs: Float[np.ndarray, "m n"], slack: Float[np.ndarray, "m"] | float = 1.0
) -> Float[np.ndarray, "m m"]:
    """Returns the covariance of measurements, ``noise * slack`` included.

    Args:
        kernel: of the process.
        signs: of the measured coalitions, in {-1, 1}.
        slack: by how much the noise of each measurement is larger than the kernel's.
    """
    total = kernel(signs, signs)
    total[np.diag_indices(len(signs))] += kernel.noise * slack
    return total


def fit_kernel(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    slack: Float[np.ndarray, "m"],
    *,
    iterations: int,
    components: int = 1,
    tilted: bool = True,
    start: Kernel | None = None,
) -> Kernel:
    """Returns the kernel of the largest penalised marginal likelihood; see `fit_process`.

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: standardised utilities.
        slack: by how much the noise of each row is larger than the kernel's.
        iterations: most L-BFGS iterations.
        components: product parts of the kernel, 1 or 2.
        tilted: whether the game may be wilder where a player is gone.
        start: a kernel of as many components to begin at; the prior's middle when omitted.
    """
    n = signs.shape[1]
    mean, spread = _prior(n, components, TILT_SPREAD if tilted else NO_SPREAD)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _evidence(_unpack(theta, n, components), signs, targets, slack)
        apart = (theta - mean) / spread
        return value + 0.5 * float(apart @ apart), gradient + apart / spread

    reach = np.minimum(5.0 * spread, 8.0)
    bounds = np.stack([mean - reach, mean + reach], axis=1)
    bounds[-1] = np.log(LEAST_NOISE), 1.0
    found = minimize(
        objective,
        np.clip(mean if start is None else _pack(start), bounds[:, 0], bounds[:, 1]),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": iterations},
    )
    return _unpack(found.x, n, components)


def _prior(
    n: int, components: int, tilt_spread: float = TILT_SPREAD
) -> tuple[Float[np.ndarray, "h"], Float[np.ndarray, "h"]]:
    ones = np.ones(n)
    mean, spread = [], []
    for c in range(components):
        mean += [
            np.log(TYPICAL_LENGTHS[c] / n) * ones,
            0.0 * ones,
            np.log(TYPICAL_VARIANCES[c : c + 1]),
        ]
        spread += [LENGTH_SPREAD * ones, tilt_spread * ones, np.array([MISC_SPREAD])]
    mean += [np.log(0.5 / n) * ones, np.log([0.03, 3.0 / n, 1.0, 1e-3])]
    spread += [SLOPE_SPREAD * ones, np.array([2.0, 1.0, MISC_SPREAD, MISC_SPREAD])]
    return np.concatenate(mean), np.concatenate(spread)


def _pack(kernel: Kernel) -> Float[np.ndarray, "h"]:
    blocks = [np.log(kernel.lengths), kernel.tilts, np.log(kernel.variances)[:, None]]
    rest = [kernel.curve, kernel.bend, kernel.constant, kernel.noise]
    return np.concatenate([np.hstack(blocks).ravel(), np.log(kernel.slopes), np.log(rest)])


def _unpack(theta: Float[np.ndarray, "h"], n: int, components: int) -> Kernel:
    blocks = theta[: components * (2 * n + 1)].reshape(components, 2 * n + 1)
    rest = np.exp(theta[components * (2 * n + 1) :])
    return Kernel(
        lengths=np.exp(blocks[:, :n]),
        tilts=blocks[:, n : 2 * n].copy(),
        variances=np.exp(blocks[:, 2 * n]),
        slopes=rest[:n],
        curve=float(rest[n]),
        bend=float(rest[n + 1]),
        constant=float(rest[n + 2]),
        noise=float(rest[n + 3]),
    )


def _evidence(
    kernel: Kernel,
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    slack: Float[np.ndarray, "m"],
) -> tuple[float, Float[np.ndarray, "h"]]:
    """Returns minus the log marginal likelihood (up to a constant) and its gradient."""
    m, n = signs.shape
    products = kernel.products(signs, signs)
    total = (signs * kernel.slopes) @ signs.T + kernel.constant
    curve = kernel.by_size(signs, signs)
    total += curve
    for part in products:
        total += part
    total[np.diag_indices(m)] += kernel.noise * slack
    decompose, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (total,))
    factor, failed = decompose(total, lower=1, overwrite_a=1)
    if failed:
        return 1e10, np.zeros(len(products) * (2 * n + 1) + n + 4)
    solution = scipy.linalg.cho_solve((factor, True), targets, check_finite=False)
    value = 0.5 * float(targets @ solution) + float(np.log(np.diag(factor)).sum())

    inverse, _ = invert(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse)
    inverse += np.tril(inverse, -1).T
    sensitivity = 0.5 * (inverse - np.outer(solution, solution))
    gradient = []
    for part, lengths in zip(products, kernel.lengths, strict=True):
        part *= sensitivity
        rows = part.sum(axis=1)
        whole = float(rows.sum())
        gradient.append(-0.5 * (whole - ((part @ signs) * signs).sum(axis=0)) * lengths)
        gradient.append((1.0 - signs).T @ rows)
        gradient.append(np.array([whole]))
    gradient.append(((sensitivity @ signs) * signs).sum(axis=0) * kernel.slopes)
    by_noise = float(np.diag(sensitivity) @ slack) * kernel.noise
    curve *= sensitivity
    by_curve = float(curve.sum())
    curve *= _apart(signs, signs)
    by_bend = -kernel.bend * float(curve.sum())
    by_constant = float(sensitivity.sum()) * kernel.constant
    gradient.append(np.array([by_curve, by_bend, by_constant, by_noise]))
    return value, np.concatenate(gradient)


def _apart(
    left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"]
) -> Float[np.ndarray, "B p"]:
    """Returns the differences between numbers of kept players."""
    return 0.5 * np.abs(np.subtract.outer(left.sum(axis=1), right.sum(axis=1)))
