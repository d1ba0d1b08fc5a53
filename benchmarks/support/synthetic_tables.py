"""Synthetic games of 12 players whose tables the estimators' benchmark adds to the real ones.

Written `x_i = 1` where player `i` is removed and `0` where it is kept. All are seeded.

smooth: `v = -R (1 - exp(-d(x) / R))` with damage `d = sum_i c_i x_i + sum_i b_i x_i x_{i+1}
    + sum_i t_i x_i x_{i+1} x_{i+2}`; costs `c` from a gamma distribution, the first player's is
    largest, neighbours add to each other's damage, and the range `R` is 8 nats. Like the layers of
    a model: order by order less, saturating far down.
rough: `v = sum_i c_i y_i + sum_T w_T u_T`, `y = 1 - x`. Half of the 120 terms are unanimity games
    (`u_T = 1` if all of `T` are kept), half Walsh functions (`u_T = prod_{i in T} (2 y_i - 1)`);
    sizes of `T` are 2 to 12, all equally often, the members random, and `w_T ~ N(0, 1) / sqrt(|T|)`
    scaled so that the terms' variance is half of the linear part's.
noisy: smooth plus independent Gaussian noise of standard deviation 5 % of the smooth game's range,
    one draw a coalition. Tables are deterministic: the truth is the value of the noisy table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from sampling import enumerate_all, stream

__all__ = ["SYNTHETIC", "synthetic_table"]

PLAYERS = 12
_RANGE = 8.0
_TERMS = 120
_ROUGH_PART = 0.5
_NOISE = 0.05


def synthetic_table(name: str, n: int = PLAYERS, seed: int = 0) -> Float[np.ndarray, "M"]:
    """Utilities of all `2^n` coalitions of a synthetic game; bit `i` of a position is player `i`.

    Raises:
        ValueError: the game's name is unknown.
    """
    if name not in SYNTHETIC:
        raise ValueError(f"game {name} is unknown; synthetic games: {', '.join(SYNTHETIC)}")
    return SYNTHETIC[name](enumerate_all(n), seed)


def _smooth(coalitions: Bool[np.ndarray, "M n"], seed: int) -> Float[np.ndarray, "M"]:
    n = coalitions.shape[1]
    rng = stream(seed, "smooth table", n)
    gone = 1.0 - coalitions
    cost = rng.gamma(1.2, 0.3, n)
    cost[0] = 2.5
    pairs = 0.6 * np.sqrt(cost[:-1] * cost[1:]) * rng.uniform(0.2, 1.0, n - 1)
    triples = 0.25 * rng.uniform(0.0, 1.0, n - 2)
    damage = gone @ cost + (gone[:, :-1] * gone[:, 1:]) @ pairs
    damage += (gone[:, :-2] * gone[:, 1:-1] * gone[:, 2:]) @ triples
    return -_RANGE * (1.0 - np.exp(-damage / _RANGE))


def _rough(coalitions: Bool[np.ndarray, "M n"], seed: int) -> Float[np.ndarray, "M"]:
    n = coalitions.shape[1]
    rng = stream(seed, "rough table", n)
    linear = coalitions @ rng.gamma(1.5, 0.3, n)
    signs = np.where(coalitions, 1.0, -1.0)
    terms = np.zeros(len(coalitions))
    for term in range(_TERMS):
        size = 2 + (term // 2) % (n - 1)
        members = rng.choice(n, size, replace=False)
        weight = rng.normal() / np.sqrt(size)
        shape = coalitions[:, members].all(axis=1) if term % 2 else signs[:, members].prod(axis=1)
        terms += weight * shape
    return linear + terms * np.sqrt(_ROUGH_PART * linear.var() / terms.var())


def _noisy(coalitions: Bool[np.ndarray, "M n"], seed: int) -> Float[np.ndarray, "M"]:
    smooth = _smooth(coalitions, seed)
    rng = stream(seed, "noise of the noisy table", coalitions.shape[1])
    return smooth + _NOISE * np.ptp(smooth) * rng.normal(size=len(smooth))


SYNTHETIC: dict[str, Callable[[Bool[np.ndarray, "M n"], int], Float[np.ndarray, "M"]]] = {
    "smooth": _smooth,
    "rough": _rough,
    "noisy": _noisy,
}
