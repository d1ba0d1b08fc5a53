"""Random orders of the players and the chains of coalitions that they walk through."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from sampling.streams import stream

__all__ = ["chain", "chains", "permutations"]


def permutations(
    n: int, count: int, seed: int, antithetic: bool = True
) -> Int[np.ndarray, "count n"]:
    """Returns uniformly random permutations of ``n`` players.

    Args:
        n: number of players.
        count: number of permutations; a larger count starts with those of a smaller one.
        seed: of the random stream.
        antithetic: each odd row is the reverse of the row before it.

    Raises:
        ValueError: if ``n`` is below 1 or the count is negative.
    """
    if n < 1 or count < 0:
        raise ValueError(f"permutations needs n >= 1 and count >= 0, got {n}, {count}")
    rng = stream(seed, "permutations", n)
    drawn = -(-count // 2) if antithetic else count
    forward = np.argsort(rng.random((drawn, n)), axis=1)
    if not antithetic:
        return forward
    return np.stack([forward, forward[:, ::-1]], axis=1).reshape(-1, n)[:count]


def chain(permutation: Int[np.ndarray, "n"]) -> Bool[np.ndarray, "n+1 n"]:
    """Returns the prefix coalitions of a permutation: row ``k`` keeps its first ``k`` players."""
    return chains(np.asarray(permutation)[None])[0]


def chains(orders: Int[np.ndarray, "B n"]) -> Bool[np.ndarray, "B n+1 n"]:
    """Returns the prefix coalitions of many permutations.

    Raises:
        ValueError: if a row is not a permutation of ``0 .. n-1``.
    """
    orders = np.asarray(orders)
    n = orders.shape[1]
    if not (np.sort(orders, axis=1) == np.arange(n)).all():
        raise ValueError(f"orders must hold permutations of 0 to {n - 1}, one a row")
    places = np.argsort(orders, axis=1)
    return places[:, None, :] < np.arange(n + 1)[None, :, None]
