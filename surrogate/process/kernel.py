"""A Gaussian process on coalitions: every player has an influence and an asymmetry of its own."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int
from scipy.optimize import minimize

from surrogate.process.threads import few_threads

__all__ = ["Kernel", "Process", "covariance", "factor", "fit_kernel", "fit_process"]

LEAST_NOISE = 1e-8
CHUNK = 4096
LITTLE = (0.0, *10.0 ** np.arange(-12, -2))  # shares of a variance that rounding may take
# Prior of the logarithms: lengths of each component, then the spread of each kind.
TYPICAL_LENGTHS = (1.0, 0.3)
TYPICAL_VARIANCES = (0.5, 0.15)
LENGTH_SPREAD, TILT_SPREAD, SLOPE_SPREAD, MISC_SPREAD = 1.0, 0.3, 1.5, 3.0
# What the players have in common is learnt from all of them: lengths, tilts, slopes.
COMMON_SPREADS = (1.5, 0.7, 2.0)
FADE_SPREAD = 0.5
LEAST_TILT, MOST_TILT, MOST_FADE, MOST_FADE_IN_ALL = -3.0, 1.5, 1.0, 20.0
NO_SPREAD = 1e-3


@dataclass(frozen=True, eq=False)
class Kernel:
    """Covariance of two coalitions with signs ``z, z'`` in {-1, 1} (1 = kept).

    ``sum_c variances_c exp(-sum_i lengths_ci [z_i != z'_i] + sum_i tilts_ci (a_i + a'_i)) +
    sum_i slopes_i z_i z'_i + curve exp(-bend |s - s'|) + constant`` with ``a_i = [z_i = -1]`` and
    ``s`` the number of kept players; and ``noise exp(2 fade (n - s))`` more for a coalition with
    itself: what no smooth function explains belongs to the game, since its utilities are
    deterministic. The product over
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
        noise: variance of the targets around the smooth function, where all players are kept.
        fade: half the growth of its logarithm with each absent player.
    """

    lengths: Float[np.ndarray, "c n"]
    tilts: Float[np.ndarray, "c n"]
    variances: Float[np.ndarray, "c"]
    slopes: Float[np.ndarray, "n"]
    curve: float
    bend: float
    constant: float
    noise: float
    fade: float = 0.0

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
        table = self.size_table(left.shape[1])
        return table[np.ix_(_sizes(left), _sizes(right))]

    def size_table(self, n: int) -> Float[np.ndarray, "s s"]:
        """Returns the same for all numbers of kept players, from none to all."""
        return self.curve * np.exp(-self.bend * _apart(n))

    def products(
        self, left: Float[np.ndarray, "B n"], right: Float[np.ndarray, "p n"]
    ) -> list[Float[np.ndarray, "B p"]]:
        """Returns the product part of each component."""
        parts = []
        for lengths, tilts, variance in zip(self.lengths, self.tilts, self.variances, strict=True):
            # [z != z'] = (1 - z z') / 2 turns the exponent into one matrix product.
            here = -0.5 * left @ tilts
            there = tilts.sum() - 0.5 * right @ tilts - 0.5 * lengths.sum() + np.log(variance)
            exponent = np.column_stack([left * (0.5 * lengths), here, np.ones(len(left))]) @ (
                np.column_stack([right, np.ones(len(right)), there]).T
            )
            np.exp(exponent, out=exponent)
            parts.append(exponent)
        return parts

    def rough(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns the variance of what no smooth function explains at each coalition."""
        return self.noise * np.exp(self.fade * (signs.shape[1] - signs.sum(axis=1)))

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
    coalitions are few; it is hierarchical, so that few coalitions tell what players have in common.

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
    total[np.diag_indices(len(signs))] += kernel.rough(signs) * slack
    return total


def factor(kernel: Kernel, signs: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m m"]:
    """Returns the covariance's lower Cholesky factor.

    A kernel that suits the rows it was fitted to may vary so much over others that the least noise
    is lost in their variances; then each gets as little more as rounding demands.
    """
    total = covariance(kernel, signs)
    places = np.diag_indices(len(total))
    variances = total[places]
    for more in LITTLE:
        total[places] = (1.0 + more) * variances
        with contextlib.suppress(np.linalg.LinAlgError):
            # A transposed view is in LAPACK's order: its lower part is the upper one of the rows.
            return scipy.linalg.cholesky(total.T, lower=True, check_finite=False)
    raise ValueError("utilities span too many orders of magnitude to be learnt; press their scale")


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
    mean, spread = _prior(n, components, tilted)
    blocks = _blocks(n, components)
    commons = [*COMMON_SPREADS[:2] * components, COMMON_SPREADS[2]]

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _evidence(_unpack(theta, n, components), signs, targets, slack)
        apart = theta - mean
        pull = apart / spread**2
        # A block's prior covariance is own^2 I + common^2 11' (Sherman-Morrison inverts it).
        for block, common in zip(blocks, commons, strict=True):
            own = spread[block.start]
            pull[block] -= common**2 / (own**2 + n * common**2) * pull[block].sum()
        return value + 0.5 * float(apart @ pull), gradient + pull

    reach = np.minimum(5.0 * spread, 8.0)
    bounds = np.stack([mean - reach, mean + reach], axis=1)
    for block in blocks[1:-1:2]:
        bounds[block] = (LEAST_TILT, MOST_TILT) if tilted else (-NO_SPREAD, NO_SPREAD)
    bounds[-2] = np.log(LEAST_NOISE), 1.0
    fade = min(MOST_FADE, MOST_FADE_IN_ALL / n)
    bounds[-1] = -fade, fade
    with few_threads(len(signs)):
        found = minimize(
            objective,
            np.clip(mean if start is None else _pack(start), bounds[:, 0], bounds[:, 1]),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": iterations},
        )
    return _unpack(found.x, n, components)


def _blocks(n: int, components: int) -> list[slice]:
    """Returns where lengths and tilts of each component and the slopes stand."""
    found = []
    for c in range(components):
        at = c * (2 * n + 1)
        found += [slice(at, at + n), slice(at + n, at + 2 * n)]
    at = components * (2 * n + 1)
    return [*found, slice(at, at + n)]


def _prior(
    n: int, components: int, tilted: bool = True
) -> tuple[Float[np.ndarray, "h"], Float[np.ndarray, "h"]]:
    ones = np.ones(n)
    tilt_spread, fade_spread = (TILT_SPREAD, FADE_SPREAD) if tilted else (NO_SPREAD, NO_SPREAD)
    mean, spread = [], []
    for c in range(components):
        mean += [
            np.log(TYPICAL_LENGTHS[c] / n) * ones,
            0.0 * ones,
            np.log(TYPICAL_VARIANCES[c : c + 1]),
        ]
        spread += [LENGTH_SPREAD * ones, tilt_spread * ones, np.array([MISC_SPREAD])]
    mean += [np.log(0.5 / n) * ones, np.log([0.03, 3.0 / n, 1.0, 1e-3]), np.zeros(1)]
    spread += [SLOPE_SPREAD * ones, np.array([2.0, 1.0, MISC_SPREAD, MISC_SPREAD, fade_spread])]
    return np.concatenate(mean), np.concatenate(spread)


def _pack(kernel: Kernel) -> Float[np.ndarray, "h"]:
    blocks = [np.log(kernel.lengths), kernel.tilts, np.log(kernel.variances)[:, None]]
    rest = np.log([kernel.curve, kernel.bend, kernel.constant, kernel.noise])
    return np.concatenate([np.hstack(blocks).ravel(), np.log(kernel.slopes), rest, [kernel.fade]])


def _unpack(theta: Float[np.ndarray, "h"], n: int, components: int) -> Kernel:
    blocks = theta[: components * (2 * n + 1)].reshape(components, 2 * n + 1)
    rest = np.exp(theta[components * (2 * n + 1) : -1])
    return Kernel(
        lengths=np.exp(blocks[:, :n]),
        tilts=blocks[:, n : 2 * n].copy(),
        variances=np.exp(blocks[:, 2 * n]),
        slopes=rest[:n],
        curve=float(rest[n]),
        bend=float(rest[n + 1]),
        constant=float(rest[n + 2]),
        noise=float(rest[n + 3]),
        fade=float(theta[-1]),
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
    total += kernel.by_size(signs, signs)
    for part in products:
        total += part
    rough = kernel.rough(signs) * slack
    total[np.diag_indices(m)] += rough
    decompose, invert = scipy.linalg.get_lapack_funcs(("potrf", "potri"), (total,))
    factor, failed = decompose(total, lower=1, overwrite_a=1)
    if failed:
        return 1e10, np.zeros(len(products) * (2 * n + 1) + n + 5)
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
    by_noise = np.diag(sensitivity) * rough
    by_fade = float(by_noise @ (n - signs.sum(axis=1)))
    member = (_sizes(signs)[:, None] == np.arange(n + 1)).astype(np.float64)
    by_sizes = member.T @ sensitivity @ member * kernel.size_table(n)
    by_curve = float(by_sizes.sum())
    by_bend = -kernel.bend * float((by_sizes * _apart(n)).sum())
    by_constant = float(sensitivity.sum()) * kernel.constant
    gradient.append(np.array([by_curve, by_bend, by_constant, float(by_noise.sum()), by_fade]))
    return value, np.concatenate(gradient)


def _sizes(signs: Float[np.ndarray, "B n"]) -> Int[np.ndarray, "B"]:
    """Returns the numbers of kept players."""
    return (signs > 0).sum(axis=1)


def _apart(n: int) -> Float[np.ndarray, "s s"]:
    """Returns the differences between numbers of kept players, from none to all."""
    sizes = np.arange(n + 1.0)
    return np.abs(np.subtract.outer(sizes, sizes))
