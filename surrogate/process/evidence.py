"""How a kernel is learnt: the marginal likelihood of measurements, its gradient and its prior."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.optimize import minimize

from surrogate.process.kernel import Kernel, sizes_apart, sizes_kept
from surrogate.process.threads import few_threads

__all__ = ["fit_kernel"]

LEAST_NOISE = 1e-8
# Prior of the logarithms: lengths of each component, then the spread of each kind.
TYPICAL_LENGTHS = (1.0, 0.3)
TYPICAL_VARIANCES = (0.5, 0.15)
LENGTH_SPREAD, TILT_SPREAD, SLOPE_SPREAD, MISC_SPREAD = 1.0, 0.3, 1.5, 3.0
# What the players have in common is learnt from all of them: lengths, tilts, slopes.
COMMON_SPREADS = (1.5, 0.7, 2.0)
FADE_SPREAD = 0.5
LEAST_TILT, MOST_TILT, MOST_FADE, MOST_FADE_IN_ALL = -3.0, 1.5, 1.0, 20.0


def fit_kernel(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    slack: Float[np.ndarray, "m"],
    *,
    iterations: int,
    components: int = 1,
    start: Kernel | None = None,
) -> Kernel:
    """Returns the kernel of the largest penalised marginal likelihood.

    The gradient is analytic (Rasmussen & Williams 2006, equations 2.30 and 5.9). A weak
    log-normal prior, which players share, keeps the hyperparameters apart from each other's
    degenerate corners when coalitions are few.

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: standardised utilities.
        slack: by how much the noise of each row is larger than the kernel's.
        iterations: most L-BFGS iterations.
        components: product parts of the kernel, 1 or 2.
        start: a kernel of as many components to begin at; the prior's middle when omitted.
    """
    n = signs.shape[1]
    mean, spread = _prior(n, components)
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
        bounds[block] = LEAST_TILT, MOST_TILT
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


def _prior(n: int, components: int) -> tuple[Float[np.ndarray, "h"], Float[np.ndarray, "h"]]:
    ones = np.ones(n)
    mean, spread = [], []
    for c in range(components):
        mean += [
            np.log(TYPICAL_LENGTHS[c] / n) * ones,
            0.0 * ones,
            np.log(TYPICAL_VARIANCES[c : c + 1]),
        ]
        spread += [LENGTH_SPREAD * ones, TILT_SPREAD * ones, np.array([MISC_SPREAD])]
    mean += [np.log(0.5 / n) * ones, np.log([0.03, 3.0 / n, 1.0, 1e-3]), np.zeros(1)]
    spread += [SLOPE_SPREAD * ones, np.array([2.0, 1.0, MISC_SPREAD, MISC_SPREAD, FADE_SPREAD])]
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
    member = (sizes_kept(signs)[:, None] == np.arange(n + 1)).astype(np.float64)
    by_sizes = member.T @ sensitivity @ member * kernel.size_table(n)
    by_curve = float(by_sizes.sum())
    by_bend = -kernel.bend * float((by_sizes * sizes_apart(n)).sum())
    by_constant = float(sensitivity.sum()) * kernel.constant
    gradient.append(np.array([by_curve, by_bend, by_constant, float(by_noise.sum()), by_fade]))
    return value, np.concatenate(gradient)
