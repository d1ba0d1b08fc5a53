"""Complement pairs {S, N without S}: the design behind the regression estimators."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool

from sampling.allocation import allocate
from sampling.strata import draw_stratum
from sampling.streams import stream

__all__ = ["paired"]


def paired(n: int, total: int, seed: int) -> Bool[np.ndarray, "B n"]:
    """Returns distinct complement pairs without replacement, uniform inside each size.

    The leverage score of a coalition of size ``s`` is ``1 / C(n, s)`` up to a constant, so every
    size receives the same number of coalitions; sizes too small for their share are enumerated
    and pass the rest on (Musco & Witter, ICLR 2025). Fixed counts replace the paper's random
    ones. Rows ``2k`` and ``2k + 1`` are complements. A larger total with the same seed starts
    with the rows of a smaller one.

    Args:
        n: number of players.
        total: rows wanted. An odd total gives one row less, since pairs are kept whole.
        seed: of the random streams.

    Returns:
        ``min(total rounded down to even, 2^n - 2)`` rows, never the empty or full coalition.

    Raises:
        ValueError: if ``n`` is below 1 or the total is negative.
    """
    if n < 1 or total < 0:
        raise ValueError(f"paired needs n of at least 1 and total of at least 0, got {n}, {total}")
    sizes = range(1, n // 2 + 1)
    halves = [n == 2 * size for size in sizes]
    capacities = [
        math.comb(n, size) // (2 if half else 1) for size, half in zip(sizes, halves, strict=True)
    ]
    weights = [0.5 if half else 1.0 for half in halves]
    counts = allocate(weights, capacities, total // 2)
    due: list[np.ndarray] = [np.empty(0)]
    rows = [np.empty((0, n), dtype=bool)]
    for size, half, weight, count in zip(sizes, halves, weights, counts, strict=True):
        rng = stream(seed, "pairs", n, size)
        rows.append(_halves(n, count, rng) if half else draw_stratum(n, n - size, count, rng))
        due.append((np.arange(count) + 0.5) / weight)
    # Pairs stand in the order in which the allocation hands them out: prefixes are designs too.
    order = np.argsort(np.concatenate(due), kind="stable")
    smaller = np.concatenate(rows)[order]
    return np.stack([smaller, ~smaller], axis=1).reshape(-1, n)


def _halves(n: int, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "B n"]:
    """Draws coalitions of half the players, one of each pair, at random which of the two."""
    flips, others = rng.spawn(2)
    rest = draw_stratum(n - 1, n // 2, count, others)
    keeps_first = flips.random(len(rest)) < 0.5
    rows = np.concatenate([np.ones((len(rest), 1), dtype=bool), rest], axis=1)
    return np.where(keeps_first[:, None], rows, ~rows)
