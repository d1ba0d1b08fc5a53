"""How a kernel is learnt: by the marginal likelihood of measurements, and a prior."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import expit, logit

from surrogate.process.kernel import Kernel, Order
from surrogate.process.likelihood import Likelihood
from surrogate.process.threads import few_threads

__all__ = ["fit_kernel"]

LEAST_NOISE = 1e-8
# Prior of the logarithms: lengths of each component, then the spread of each kind.
TYPICAL_LENGTHS = (1.0, 0.3)
TYPICAL_VARIANCES = (0.5, 0.15)
MISC_SPREAD = 3.0
FADE_SPREAD = 0.5
LEAST_TILT, MOST_TILT, MOST_FADE, MOST_FADE_IN_ALL = -3.0, 1.5, 1.0, 20.0
TYPICAL_PAIRS, TYPICAL_REACH = 0.3, 2.0

# What the optimiser sees of each kind of hyperparameter, and the way back.
_LOGARITHM, _ITSELF = (np.log, np.exp), (np.array, np.array)
_SCALES = {"tilts": _ITSELF, "fade": _ITSELF, "blend": (logit, expit)}


@dataclass(frozen=True)
class _Part:
    """Hyperparameters of one kind, and what is believed of them beforehand.

    Attributes:
        at: where they stand among all.
        mean: prior mean of each.
        spread: prior standard deviation of each by itself.
        common: of what all of them share, which is learnt from all: 0 where nothing is.
        low, high: bounds.
    """

    at: slice
    mean: float
    spread: float
    common: float = 0.0
    low: float = -np.inf
    high: float = np.inf


def fit_kernel(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    slack: Float[np.ndarray, "m"],
    *,
    iterations: int,
    components: int = 1,
    ordered: bool = False,
    start: Kernel | None = None,
) -> Kernel:
    """Returns the kernel of the largest penalised marginal likelihood.

    A weak log-normal prior, which players share, keeps the hyperparameters apart from each other's
    degenerate corners when coalitions are few.

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: standardised utilities.
        slack: by how much the noise of each row is larger than the kernel's.
        iterations: most L-BFGS iterations.
        components: product parts of the kernel, 1 or 2.
        ordered: whether the order of the players may mean something; see `Kernel`.
        start: a kernel of the same parts to begin at; the prior's middle when omitted.
    """
    n = signs.shape[1]
    parts = _parts(n, components, ordered)
    count = max(part.at.stop for part in parts.values())
    mean, low, high = np.empty(count), np.empty(count), np.empty(count)
    for part in parts.values():
        reach = min(5.0 * part.spread, 8.0)
        mean[part.at] = part.mean
        low[part.at] = max(part.low, part.mean - reach)
        high[part.at] = min(part.high, part.mean + reach)

    likelihood = Likelihood(signs, targets, slack, components=components, ordered=ordered)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = likelihood(_unpack(theta, parts))
        apart, pull, slope = theta - mean, np.empty(count), np.empty(count)
        for name, part in parts.items():
            own, size = part.spread**2, part.at.stop - part.at.start
            slope[part.at] = gradient.get(name, 0.0)
            # A part's prior covariance is own I + common 11' (Sherman-Morrison inverts it).
            shared = part.common**2 / (own + size * part.common**2) * apart[part.at].sum()
            pull[part.at] = (apart[part.at] - shared) / own
        return value + 0.5 * float(apart @ pull), slope + pull

    with few_threads(len(signs)):
        found = minimize(
            objective,
            np.clip(mean if start is None else _pack(start, parts), low, high),
            jac=True,
            method="L-BFGS-B",
            bounds=np.stack([low, high], axis=1),
            options={"maxiter": iterations},
        )
    return _unpack(found.x, parts)


def _parts(n: int, components: int, ordered: bool) -> dict[str, _Part]:
    """Returns the kinds of hyperparameters by name; a component's end in its number."""
    parts: dict[str, _Part] = {}
    at = 0

    def add(name: str, size: int, *belief: float) -> None:
        nonlocal at
        parts[name] = _Part(slice(at, at + size), *belief)
        at += size

    for c in range(components):
        add(f"lengths {c}", n, np.log(TYPICAL_LENGTHS[c] / n), 1.0, 1.5)
        add(f"tilts {c}", n, 0.0, 0.3, 0.7, LEAST_TILT, MOST_TILT)
        add(f"variances {c}", 1, np.log(TYPICAL_VARIANCES[c]), MISC_SPREAD)
        if ordered:
            add(f"pairs {c}", n - 1, np.log(TYPICAL_PAIRS / n), 1.0, 1.5)
            add(f"blend {c}", 1, 0.0, 1.5)
            add(f"reach {c}", 1, np.log(TYPICAL_REACH), 0.7)
    add("slopes", n, np.log(0.5 / n), 1.5, 2.0)
    add("curve", 1, np.log(0.03), 2.0)
    add("bend", 1, np.log(3.0 / n), 1.0)
    add("constant", 1, 0.0, MISC_SPREAD)
    add("noise", 1, np.log(1e-3), MISC_SPREAD, 0.0, np.log(LEAST_NOISE), 1.0)
    fade = min(MOST_FADE, MOST_FADE_IN_ALL / n)
    add("fade", 1, 0.0, FADE_SPREAD, 0.0, -fade, fade)
    return parts


def _pack(kernel: Kernel, parts: Mapping[str, _Part]) -> Float[np.ndarray, "h"]:
    theta = np.empty(max(part.at.stop for part in parts.values()))
    values = vars(kernel) | (vars(kernel.order) if kernel.order else {})
    for name, part in parts.items():
        kind, _, component = name.partition(" ")
        value = values[kind][int(component)] if component else values[kind]
        theta[part.at] = _SCALES.get(kind, _LOGARITHM)[0](value)
    return theta


def _unpack(theta: Float[np.ndarray, "h"], parts: Mapping[str, _Part]) -> Kernel:
    found: dict[str, list[np.ndarray]] = {}
    for name, part in parts.items():
        kind = name.partition(" ")[0]
        value = _SCALES.get(kind, _LOGARITHM)[1](theta[part.at])
        found.setdefault(kind, []).append(value)
    order = None
    if "pairs" in found:
        order = Order(
            np.stack(found["pairs"]), np.concatenate(found["blend"]), np.concatenate(found["reach"])
        )
    return Kernel(
        lengths=np.stack(found["lengths"]),
        tilts=np.stack(found["tilts"]),
        variances=np.concatenate(found["variances"]),
        slopes=found["slopes"][0],
        **{
            name: float(found[name][0][0])
            for name in ("curve", "bend", "constant", "noise", "fade")
        },
        order=order,
    )
