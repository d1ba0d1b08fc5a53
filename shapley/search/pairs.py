"""Sets whose players go two by two, each pair side by side.

Where a removal saves something only together with its neighbour's, as that of one half of a layer
does, a good set is made of pairs: every run of removed neighbours has an even number of them. Each
such set is one choice of disjoint pairs, so that it can be drawn, grown and changed by pairs.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["draw_pairs", "heaviest_pairs", "odd_runs", "pair_moves"]


def odd_runs(
    removed: Bool[np.ndarray, "B n"], joined: Bool[np.ndarray, "n-1"]
) -> Int[np.ndarray, "B"]:
    """Counts the runs of removed neighbours that have an odd number of players.

    Args:
        removed: sets, True = removed.
        joined: whether each player and the next one are neighbours.
    """
    odd = np.zeros(len(removed), dtype=np.int64)
    open_run = np.zeros(len(removed), dtype=bool)
    for player in range(removed.shape[1]):
        gone = removed[:, player]
        ends = ~gone if player == 0 or joined[player - 1] else np.ones_like(gone)
        odd += open_run & ends
        open_run = np.where(ends, gone, ~open_run)
    return odd + open_run


def heaviest_pairs(
    weights: Float[np.ndarray, "p"], apart: Bool[np.ndarray, "p-1"], number: int
) -> Int[np.ndarray, "k"] | None:
    """Chooses disjoint pairs of the largest summed weight, by dynamic programming.

    Args:
        weights: of the possible pairs, in order of their first players.
        apart: whether each pair and the next one share no player.
        number: pairs to choose.

    Returns:
        places of the pairs, ascending; None where there are not so many.
    """
    size = len(weights)
    best = np.full((size + 1, number + 1), -np.inf)  # of the first pairs, so many chosen
    best[:, 0] = 0.0
    before = np.array([i if i == 0 or apart[i - 1] else i - 1 for i in range(size)], dtype=int)
    for at in range(size):
        taken = best[before[at], :-1] + weights[at]
        best[at + 1, 1:] = np.maximum(best[at, 1:], taken)
    if best[size, number] == -np.inf:
        return None
    chosen, at, left = [], size, number
    while left:
        if best[at, left] == best[at - 1, left]:
            at -= 1
            continue
        chosen.append(at - 1)
        at, left = int(before[at - 1]), left - 1
    return np.array(chosen[::-1], dtype=np.int64)


def draw_pairs(
    first: Int[np.ndarray, "p"],
    free: Int[np.ndarray, "f"],
    n: int,
    count: int,
    number: int,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "B n"]:
    """Draws coalitions that lack random disjoint pairs, and one player more where count is odd.

    Args:
        first: the first player of each possible pair.
        free: players that may go.
        n: players in all.
        count: players that each set removes.
        number: rows wanted.
        rng: decides which.

    Returns:
        at most so many rows: where pairs are crowded, a draw may find no room for the last one.
    """
    rows = np.ones((number, n), dtype=bool)
    for row in rows:
        left = count // 2
        for player in rng.permutation(first):
            if left and row[player] and row[player + 1]:
                row[player] = row[player + 1] = False
                left -= 1
        rest = free[row[free]]
        if count % 2 and len(rest):
            row[rng.choice(rest)] = False
    return rows[(~rows).sum(axis=1) == count]


def pair_moves(row: Bool[np.ndarray, "n"], first: Int[np.ndarray, "p"]) -> Bool[np.ndarray, "M n"]:
    """Returns the coalitions in which one removed pair is back and another one is gone instead.

    Args:
        row: a coalition, True = kept.
        first: the first player of each possible pair.
    """
    back = first[~row[first] & ~row[first + 1]]
    found = []
    for player in back:
        base = row.copy()
        base[player] = base[player + 1] = True
        gone = first[base[first] & base[first + 1]]
        near = np.repeat(base[None], len(gone), axis=0)
        near[np.arange(len(gone)), gone] = near[np.arange(len(gone)), gone + 1] = False
        found.append(near)
    rows = np.concatenate([*found, np.empty((0, len(row)), dtype=bool)])
    return np.unique(rows[(rows != row).any(axis=1)], axis=0)
