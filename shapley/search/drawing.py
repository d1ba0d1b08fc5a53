"""Random sets of players to remove that satisfy limits, and random exchanges between them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

from shapley.search.constraints import Limits
from shapley.search.pairs import draw_pairs

__all__ = ["draw_sets", "exchanged"]

LEANINGS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)


def draw_sets(
    limits: Limits, count: int, number: int, rng: np.random.Generator
) -> Bool[np.ndarray, "B n"]:
    """Returns ``number`` random allowed coalitions that lack ``count`` players; some may repeat.

    Uniform over the sets of that size (or over the allowed runs) where no saving binds. Otherwise
    sets that save too little are drawn again with a growing leaning to players that save much.

    Args:
        limits: which sets are allowed.
        count: players that each set removes.
        number: rows to return.
        rng: decides which.

    Raises:
        ValueError: if no allowed set has this size.
    """
    limits.check([count])
    if limits.contiguous:
        runs = limits.runs(count)
        return runs[rng.integers(len(runs), size=number)]
    if limits.pairs is not None:
        rows = draw_pairs(limits.pair_starts, limits.free, limits.n, count, 2 * number, rng)
        rows = rows[limits.allowed(rows)][:number]
        missing = np.repeat(limits.some_row(count)[None], number - len(rows), axis=0)  # type: ignore[index]
        return np.concatenate([rows, missing])
    free = limits.free
    rows = np.ones((number, limits.n), dtype=bool)
    open_rows = np.arange(number)
    for leaning in LEANINGS if limits.savings else (0.0,):
        worth = _worth(limits, len(open_rows), rng) * leaning
        rank = np.argsort(rng.random((len(open_rows), len(free))) + worth, axis=1)
        drawn = np.ones((len(open_rows), limits.n), dtype=bool)
        drawn[np.arange(len(open_rows))[:, None], free[rank[:, len(free) - count :]]] = False
        fits = limits.allowed(drawn)
        rows[open_rows[fits]] = drawn[fits]
        open_rows = open_rows[~fits]
        if not len(open_rows):
            return rows
    rows[open_rows] = limits.some_row(count)
    return rows


def exchanged(
    rows: Bool[np.ndarray, "B n"], free: Int[np.ndarray, "f"], rng: np.random.Generator
) -> Bool[np.ndarray, "B n"]:
    """Returns each coalition with one random removed player back and one random free player out.

    Coalitions without any free player left stay as they are.

    Args:
        rows: coalitions, True = kept.
        free: indices of the players that may move.
        rng: decides which do.
    """
    inside, draws = rows[:, free], rng.random((2, len(rows), len(free)))
    back = free[np.where(inside, -1.0, draws[0]).argmax(axis=1)]
    out = free[np.where(inside, draws[1], -1.0).argmax(axis=1)]
    moved, places = rows.copy(), np.flatnonzero(inside.any(axis=1) & ~inside.all(axis=1))
    moved[places, back[places]] = True
    moved[places, out[places]] = False
    return moved


def _worth(limits: Limits, number: int, rng: np.random.Generator) -> np.ndarray:
    """Returns what each free player saves, on scale 1, with random weights of several savings."""
    amounts = limits.amounts[:, limits.free]
    spread = np.ptp(amounts, axis=1, keepdims=True) if amounts.size else np.ones((0, 1))
    scaled = amounts / np.where(spread > 0, spread, 1.0)
    return rng.dirichlet(np.ones(max(len(scaled), 1)), size=number)[:, : len(scaled)] @ scaled
