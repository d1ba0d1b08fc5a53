"""Endless designs over sizes: uniform inside each size, shared between sizes by weight."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from sampling.allocation import allocate
from sampling.strata import draw_stratum
from sampling.streams import stream

__all__ = ["size_sequence"]


def size_sequence(
    n: int,
    total: int,
    seed: int,
    weights: Sequence[float] | None = None,
    first: Sequence[int] | None = None,
    name: str = "stratum",
) -> Bool[np.ndarray, "T n"]:
    """Returns the first ``total`` rows of a sequence of distinct coalitions of sizes 1 to n-1.

    Each size is sampled without replacement and has a share in proportion to its weight, by
    Webster's method; sizes that are used up pass their share on. A larger total only adds rows
    at the end (while no size is asked for more than 16,384 coalitions).

    Args:
        n: number of players.
        total: rows wanted; ``2^n - 2`` at most are returned.
        seed: of the random streams.
        weights: one for each of the sizes 1 to ``n - 1``, positive; equal when omitted.
        first: counts of each size that were sampled before, which are left out.
        name: of the random streams.
    """
    sizes = range(1, n)
    share = np.ones(n - 1) if weights is None else np.asarray(weights, dtype=np.float64)
    skip = [0] * (n - 1) if first is None else [int(count) for count in first]
    capacities = [math.comb(n, size) for size in sizes]
    # The first rows overall, less those left out, hold all that come next.
    counts = allocate(share.tolist(), capacities, total + sum(skip))
    rows, due = [np.empty((0, n), dtype=bool)], [np.empty(0)]
    for size, weight, start, count in zip(sizes, share, skip, counts, strict=True):
        if count <= start:
            continue
        drawn = draw_stratum(n, n - size, count, stream(seed, name, n, n - size))
        rows.append(drawn[start:])
        due.append((np.arange(start, count) + 0.5) / weight)
    order = np.argsort(np.concatenate(due), kind="stable")[:total]
    return np.concatenate(rows)[order]
