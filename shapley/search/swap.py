"""Local search: exchange one removed player for one kept player while that helps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from shapley.game import Game, evaluate
from shapley.search.candidate import Candidate, best_first, from_rows, limits_of, rows_of
from shapley.search.constraints import Limits

__all__ = ["swap_search"]


def swap_search(
    game: Game,
    starts: Sequence[Candidate],
    limits: Limits | None = None,
    most_rounds: int = 100,
) -> list[Candidate]:
    """Returns the sets that starts of one size reach by best single exchanges.

    All starts climb together: one game call a round, over every exchange of every set that still
    improved in the round before.

    Args:
        game: any game; a surrogate as a rule.
        starts: sets of one size to begin with; their utilities are evaluated again.
        limits: constraints on the sets; exchanges that break them are not taken.
        most_rounds: rounds at most.

    Returns:
        Distinct local optima, best first, never worse than the starts they come from.

    Raises:
        ValueError: if the starts differ in size, remove a protected player or break another limit.
    """
    if not starts:
        return []
    n, sizes = len(game.players), {len(start.removed) for start in starts}
    if len(sizes) > 1:
        raise ValueError(f"starts must remove equally many players, got sizes {sorted(sizes)}")
    rules = limits_of(game, limits)
    rules.check(sizes)
    rows = rows_of(starts, n)
    if not rows[:, list(rules.protected)].all():
        raise ValueError("starts has a set that removes a protected player; drop it")
    if not rules.allowed(rows).all():
        raise ValueError("starts has a set that breaks the limits; drop it or begin with draw_sets")
    utilities = evaluate(game, rows)
    climbing = np.arange(len(rows))
    for _ in range(most_rounds):
        if not len(climbing):
            break
        better, gain = _best_exchange(game, rows[climbing], rules)
        improves = gain > utilities[climbing]
        climbing, better, gain = climbing[improves], better[improves], gain[improves]
        rows[climbing], utilities[climbing] = better, gain
        _, first = np.unique(rows, axis=0, return_index=True)  # paths that met climb once
        rows, utilities, climbing = _keep(rows, utilities, climbing, np.sort(first))
    return best_first(from_rows(rows, utilities, "swap"))


def _best_exchange(
    game: Game, rows: Bool[np.ndarray, "C n"], limits: Limits
) -> tuple[Bool[np.ndarray, "C n"], Float[np.ndarray, "C"]]:
    """Returns the best neighbour of each coalition and its utility (-inf without neighbours)."""
    if limits.pairs is not None:
        return _best_move(game, rows, limits)
    free, removed = limits.free, int((~rows[0]).sum())
    kept = len(free) - removed
    if kept == 0:
        return rows, np.full(len(rows), -np.inf)
    inside = rows[:, free]
    out = free[np.nonzero(~inside)[1].reshape(len(rows), removed)]
    back = free[np.nonzero(inside)[1].reshape(len(rows), kept)]
    neighbours = np.repeat(rows, removed * kept, axis=0)
    places = np.arange(len(neighbours))
    neighbours[places, np.repeat(out, kept, axis=1).ravel()] = True
    neighbours[places, np.tile(back, (1, removed)).ravel()] = False
    if not limits.plain:
        utilities, fits = np.full(len(neighbours), -np.inf), limits.allowed(neighbours)
        if fits.any():
            utilities[fits] = evaluate(game, neighbours[fits])
    else:
        utilities = evaluate(game, neighbours)
    utilities = utilities.reshape(len(rows), -1)
    best = utilities.argmax(axis=1)
    chosen = np.arange(len(rows)) * (removed * kept) + best
    return neighbours[chosen], utilities[np.arange(len(rows)), best]


def _best_move(
    game: Game, rows: Bool[np.ndarray, "C n"], limits: Limits
) -> tuple[Bool[np.ndarray, "C n"], Float[np.ndarray, "C"]]:
    """The same where pairs of players change places."""
    better, gains = rows.copy(), np.full(len(rows), -np.inf)
    for at, row in enumerate(rows):
        near = limits.pair_moves(row)
        if len(near):
            utilities = evaluate(game, near)
            best = int(utilities.argmax())
            better[at], gains[at] = near[best], utilities[best]
    return better, gains


def _keep(rows, utilities, climbing, first):
    """Drops sets that two paths share, and renumbers the climbing ones."""
    places = np.full(len(rows), -1)
    places[first] = np.arange(len(first))
    still = places[climbing]
    return rows[first], utilities[first], still[still >= 0]
