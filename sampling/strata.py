"""Strata: the coalitions of one size, given by the number of players REMOVED."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int

from sampling.allocation import allocate
from sampling.coalitions import keys
from sampling.streams import stream

__all__ = [
    "draw_stratum",
    "even_quotas",
    "random_of_sizes",
    "stratified",
    "stratum_size",
    "unrank",
]

# Below this many coalitions a stratum is shuffled by rank; above it, random coalitions hardly
# ever repeat and rejection is cheaper than a permutation.
MOST_SHUFFLED = 1 << 16
BLOCK = 1024


def stratum_size(n: int, removed: int) -> int:
    """Returns the number of coalitions of ``n`` players that lack exactly ``removed`` of them.

    Raises:
        ValueError: if ``removed`` is outside ``0 .. n``.
    """
    if n < 1 or not 0 <= removed <= n:
        raise ValueError(f"removed must be between 0 and n = {n} players, got {removed}")
    return math.comb(n, removed)


def unrank(n: int, removed: int, ranks: Int[np.ndarray, "B"]) -> Bool[np.ndarray, "B n"]:
    """Returns the coalitions with the given ranks in a stratum (combinatorial number system).

    Rank 0 removes the first ``removed`` players, the last rank removes the last ones.

    Args:
        n: number of players.
        removed: how many the stratum lacks.
        ranks: places in the stratum, in any order.

    Raises:
        ValueError: if a rank is not in ``0 .. C(n, removed) - 1``.
    """
    size = stratum_size(n, removed)
    left = np.array(ranks, dtype=np.int64)
    if left.size and not (int(left.min()) >= 0 and int(left.max()) < size):
        raise ValueError(f"ranks must lie in 0 to {size - 1} for {removed} of {n} removed")
    kept = np.ones((len(left), n), dtype=bool)
    open_places = np.full(len(left), removed, dtype=np.int64)
    most = np.iinfo(np.int64).max
    for player in range(n):
        rest = n - player - 1
        ways = [math.comb(rest, places - 1) if places else 0 for places in range(removed + 1)]
        here = np.array([min(way, most) for way in ways], dtype=np.int64)[open_places]
        removes = left < here
        kept[removes, player] = False
        left -= np.where(removes, 0, here)
        open_places -= removes
    return kept


def random_of_sizes(
    n: int, sizes: Int[np.ndarray, "B"], rng: np.random.Generator
) -> Bool[np.ndarray, "B n"]:
    """Returns one uniformly random coalition with each of the given numbers of KEPT players.

    Args:
        n: number of players.
        sizes: how many players each coalition keeps.
        rng: decides which.
    """
    sizes = np.asarray(sizes)
    draws = rng.random((len(sizes), n))
    ordered = np.sort(draws, axis=1)
    limits = ordered[np.arange(len(sizes)), np.maximum(sizes - 1, 0)]
    return (draws <= limits[:, None]) & (sizes > 0)[:, None]


def draw_stratum(
    n: int, removed: int, count: int, rng: np.random.Generator
) -> Bool[np.ndarray, "B n"]:
    """Returns ``count`` distinct coalitions, uniform without replacement from one stratum.

    A larger count from a generator in the same state starts with the coalitions of a smaller
    one, in the same order (strata of more than 65,536 coalitions: up to 16,384 of them).

    Args:
        n: number of players.
        removed: number of players that each coalition lacks.
        count: coalitions wanted; the whole stratum is returned if it has no more than that.
        rng: source of randomness.

    Raises:
        ValueError: if ``removed`` is outside ``0 .. n`` or the count is negative.
    """
    size = stratum_size(n, removed)
    if count < 0:
        raise ValueError(f"count must be at least 0 coalitions, got {count}")
    count = min(count, size)
    if size <= max(MOST_SHUFFLED, 4 * count):
        return unrank(n, removed, rng.permutation(size)[:count])
    return _rejection(n, removed, count, rng)


def _rejection(
    n: int, removed: int, count: int, rng: np.random.Generator
) -> Bool[np.ndarray, "B n"]:
    """Draws from a huge stratum, at most a quarter of it, dropping the rare repeats."""
    sizes = np.full(BLOCK, n - removed)
    seen: set[bytes] = set()
    blocks = [np.empty((0, n), dtype=bool)]
    while len(seen) < count:
        block = random_of_sizes(n, sizes, rng)
        fresh = np.zeros(BLOCK, dtype=bool)
        for position, key in enumerate(keys(block)):
            if key not in seen:
                seen.add(key)
                fresh[position] = True
        blocks.append(block[fresh])
    return np.concatenate(blocks)[:count]


def stratified(n: int, quotas: Mapping[int, int], seed: int) -> Bool[np.ndarray, "B n"]:
    """Returns distinct coalitions: ``quotas[removed]`` of each stratum, or all that it has.

    Strata come in ascending order of removals; each has a random stream of its own, so changing
    one quota leaves the other strata as they were.

    Args:
        n: number of players.
        quotas: how many coalitions, by number of removed players.
        seed: of the draws.

    Raises:
        ValueError: if a stratum does not exist or a quota is negative.
    """
    parts = [np.empty((0, n), dtype=bool)]
    for removed in sorted(quotas):
        rng = stream(seed, "stratum", n, removed)
        parts.append(draw_stratum(n, removed, quotas[removed], rng))
    return np.concatenate(parts)


def even_quotas(n: int, removals: Sequence[int], total: int) -> dict[int, int]:
    """Spreads ``total`` coalitions evenly over strata; small ones pass on what they cannot use.

    Args:
        n: number of players.
        removals: the strata, by number of removed players.
        total: how many coalitions there are to spread.

    Returns:
        A quota for each of ``removals`` (repeats count once). They sum to ``total``, or to the
        number of coalitions that these strata have if that is less.

    Raises:
        ValueError: if a stratum does not exist or the total is negative.
    """
    strata = list(dict.fromkeys(removals))
    sizes = [stratum_size(n, removed) for removed in strata]
    return dict(zip(strata, allocate([1.0] * len(strata), sizes, total), strict=True))
