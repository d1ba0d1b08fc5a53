"""Boosted symmetric trees: what a smooth function misses where a game changes by steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Trees", "fit_trees"]

COUNT, DEPTH, RATE = 200, 4, 0.1
# Rows of average weight that a leaf's mean is shrunk by.
SHRINKAGE = 1.0
CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of trees that ask for the same player at all nodes of a level.

    So a tree of depth ``d`` is a table of ``2^d`` numbers, and the place in it is read off from
    ``d`` players: bit ``k`` of the place is set where the ``k``-th of them is kept.

    Attributes:
        level: the constant.
        players: which player each level of each tree asks for.
        leaves: the tables.
    """

    level: float
    players: Int[np.ndarray, "t d"]
    leaves: Float[np.ndarray, "t l"]

    def __call__(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns one value a row."""
        result = np.full(len(signs), self.level)
        powers = self.powers(signs.shape[1])
        trees = np.arange(len(self.leaves))
        for at in range(0, len(signs), CHUNK):
            places = (signs[at : at + CHUNK] > 0) @ powers
            result[at : at + CHUNK] += self.leaves[trees, places].sum(axis=1)
        return result

    def powers(self, n: int) -> Int[np.ndarray, "n t"]:
        """Returns the matrix that turns coalitions of 0 and 1 into places in the tables."""
        count, depth = self.players.shape
        powers = np.zeros((n, count), np.int64)
        for k in range(depth):
            # A player may be asked for at two levels of a tree.
            np.add.at(powers, (self.players[:, k], np.arange(count)), 1 << k)
        return powers

    def merged(self, most: int) -> Trees:
        """Returns the same function with the trees that share players added up into larger ones.

        Args:
            most: levels of a merged tree, at least those of each tree.
        """
        groups: list[tuple[set[int], list[int]]] = []
        for tree, asked in enumerate(self.players.tolist()):
            for members, trees in groups:
                if len(members.union(asked)) <= most:
                    members.update(asked)
                    trees.append(tree)
                    break
            else:
                groups.append((set(asked), [tree]))
        places = np.arange(1 << most)
        players = np.zeros((len(groups), most), np.int64)
        leaves = np.zeros((len(groups), 1 << most))
        for row, (members, trees) in enumerate(groups):
            order = sorted(members)
            # Levels to spare ask for the first player again, and read the bit of the first level.
            players[row] = order + [order[0]] * (most - len(order))
            bits = {player: (places >> k) & 1 for k, player in enumerate(order)}
            for tree in trees:
                place = sum(bits[p] << k for k, p in enumerate(self.players[tree].tolist()))
                leaves[row] += self.leaves[tree, place]
        return Trees(self.level, players, leaves)


def fit_trees(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
    *,
    count: int = COUNT,
    depth: int = DEPTH,
) -> Trees:
    """Boosts the weighted squared error (Friedman 2001) with symmetric trees (Prokhorenkova 2018).

    Each level asks for the player whose split of all nodes lowers the error most.

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: what to predict.
        weights: non-negative, not all zero.
        count: number of trees.
        depth: levels of each.
    """
    used = np.flatnonzero(weights > 0)
    kept = np.where(signs[used] > 0, 1.0, 0.0)
    share = weights[used] / weights[used].mean()
    level = float(np.average(targets[used], weights=share))
    residual = targets[used] - level
    players = np.zeros((count, depth), np.int64)
    leaves = np.zeros((count, 1 << depth))
    rows = np.arange(len(used))
    for tree in range(count):
        pull = share * residual
        place = np.zeros(len(used), np.int64)
        for k in range(depth):
            nodes = 1 << k
            # Sums of pull and share by node, over all rows and over those that keep a player.
            parts = np.zeros((2, nodes, len(used)))
            parts[0, place, rows], parts[1, place, rows] = pull, share
            inside = parts.reshape(2 * nodes, -1) @ kept
            outside = parts.sum(axis=2).reshape(-1, 1) - inside
            gain = sum(
                (side[:nodes] ** 2 / (side[nodes:] + SHRINKAGE)).sum(axis=0)
                for side in (inside, outside)
            )
            players[tree, k] = int(np.argmax(gain))
            place += nodes * kept[:, players[tree, k]].astype(np.int64)
        total = np.bincount(place, pull, 1 << depth)
        leaves[tree] = RATE * total / (np.bincount(place, share, 1 << depth) + SHRINKAGE)
        residual = residual - leaves[tree, place]
    return Trees(level, players, leaves)
