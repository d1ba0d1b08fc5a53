"""Shapley values of a cheap game, such as a surrogate: millions of calls, in large batches."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int

from sampling.allocation import allocate
from sampling.coalitions import empty, full
from sampling.strata import random_of_sizes, unrank
from sampling.streams import stream
from shapley.game import Game, evaluate
from shapley.indices.exact import MOST_PLAYERS, exact_values, relabelled
from shapley.regression.weighting import (
    GROUPS,
    SIZE_COLUMNS,
    gram,
    jackknife_variance,
    regression_columns,
    solve,
)
from shapley.values import Status, Values

__all__ = ["surrogate_values"]

CHUNK = 65_536
# Calls without a budget: sampling errors are then below a thousandth of the largest value.
CALLS_A_PLAYER, EXACT_CALLS = 2048, 1 << 17


def surrogate_values(
    surrogate_game: Game, n: int, budget_of_calls: int | None = None, seed: int = 0
) -> Values:
    """Returns the Shapley values of a surrogate with the standard errors of their sampling.

    Enumerates if ``2^n`` calls are allowed (and ``n <= 22``). Otherwise solves the regression of
    :mod:`shapley.regression.weighting` on complement pairs with equal counts per size: small sizes
    are enumerated, of the others coalitions are drawn with repetition, which is harmless for a
    game whose calls are cheap. Standard errors leave out one of 20 groups of the drawn pairs.

    Args:
        surrogate_game: a game that answers large batches fast.
        n: its number of players.
        budget_of_calls: the most rows to ask for, at least ``40 n`` unless ``2^n`` is less; when
            omitted 2048 a player, and all coalitions of up to 17 players.
        seed: of the sampling.

    Raises:
        ValueError: if ``n`` is not the game's number of players or too few calls are allowed.
    """
    if n != len(surrogate_game.players):
        raise ValueError(f"n is {n}, the game has {len(surrogate_game.players)} players; pass that")
    if budget_of_calls is None:
        budget_of_calls = EXACT_CALLS if 1 << n <= EXACT_CALLS else CALLS_A_PLAYER * n
    if n <= MOST_PLAYERS and 1 << n <= budget_of_calls:
        exact = relabelled(exact_values(surrogate_game), "surrogate", budget_of_calls)
        return dataclasses.replace(exact, status=Status.SURROGATE)
    least = min(40 * n, 1 << n)
    if budget_of_calls < least:
        raise ValueError(
            f"budget_of_calls must be at least {least} for {n} players, got {budget_of_calls}"
        )
    ends = evaluate(surrogate_game, np.stack([full(n), empty(n)]))
    enumerated, drawn = _sizes(n, (budget_of_calls - 2) // 2)
    counts = np.bincount(np.concatenate([*(half.sum(axis=1) for half in enumerated), drawn]))
    per_size = np.zeros(n + 1)
    per_size[: len(counts)] = counts
    per_size = per_size + per_size[::-1]

    fixed = _Sides(n)
    for half in enumerated:
        fixed.add(surrogate_game, half, ends, per_size)
    rng = stream(seed, "surrogate values", n)
    groups = []
    for group in range(GROUPS):
        sides, sizes = _Sides(n), drawn[group::GROUPS]
        for at in range(0, len(sizes), CHUNK // 2):
            rows = random_of_sizes(n, sizes[at : at + CHUNK // 2], rng)
            sides.add(surrogate_game, rows, ends, per_size)
        groups.append(sides)

    left = fixed.left + sum(sides.left for sides in groups)
    right = fixed.right + sum(sides.right for sides in groups)
    psi = solve(left, right)[:n]
    scale = GROUPS / (GROUPS - 1)
    leave_out = np.stack(
        [
            solve(
                fixed.left + scale * (left - fixed.left - sides.left),
                fixed.right + scale * (right - fixed.right - sides.right),
            )[:n]
            for sides in groups
        ]
    )
    return Values.build(
        surrogate_game.players,
        psi + (ends[0] - ends[1]) / n,
        np.sqrt(jackknife_variance(leave_out, psi, 0.0)),
        method="surrogate",
        status=Status.SURROGATE,
        spent=2 + int(per_size.sum()),
        budget=budget_of_calls,
    )


class _Sides:
    """Running sums of the two sides of the normal equations."""

    def __init__(self, n: int) -> None:
        self.left = np.zeros((n + SIZE_COLUMNS, n + SIZE_COLUMNS))
        self.right = np.zeros(n + SIZE_COLUMNS)

    def add(
        self,
        game: Game,
        half: Bool[np.ndarray, "B n"],
        ends: Float[np.ndarray, "2"],
        per_size: Float[np.ndarray, "n+1"],
    ) -> None:
        """Adds coalitions and their complements."""
        n = half.shape[1]
        rows = np.concatenate([half, ~half])
        sizes = rows.sum(axis=1)
        targets = evaluate(game, rows, CHUNK) - ends[1] - sizes / n * (ends[0] - ends[1])
        weights = 1.0 / (sizes * (n - sizes) * per_size[sizes])
        left, right = gram(regression_columns(rows), targets, weights)
        self.left += left
        self.right += right


def _sizes(n: int, pairs: int) -> tuple[list[Bool[np.ndarray, "B n"]], Int[np.ndarray, "P"]]:
    """Splits pairs over sizes: all coalitions of the small sizes, and the sizes to draw from."""
    classes = range(1, n // 2 + 1)
    capacities = [math.comb(n, size) // (2 if 2 * size == n else 1) for size in classes]
    weights = [0.5 if 2 * size == n else 1.0 for size in classes]
    counts = allocate(weights, capacities, pairs)
    enumerated, drawn = [], [np.empty(0, dtype=np.int64)]
    for size, capacity, count in zip(classes, capacities, counts, strict=True):
        if count < capacity:
            drawn.append(np.full(count, size))
        else:  # of the middle size, the first half of the ranks lacks player 0: one of each pair
            enumerated.append(unrank(n, n - size, np.arange(count)))
    return enumerated, np.concatenate(drawn)
