"""Improving an order of removal: players change places while the sets of the counts get better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from shapley.game import Game, evaluate
from shapley.search.constraints import Limits

__all__ = ["improve_order"]


def improve_order(
    game: Game,
    order: Int[np.ndarray, "s"],
    counts: Sequence[int],
    limits: Limits,
    most_rounds: int = 50,
) -> tuple[Int[np.ndarray, "f"], Float[np.ndarray, "k"]]:
    """Returns an order whose prefixes have a locally best sum of utilities, and the utilities.

    A move exchanges two players of the order or takes one out and puts it in elsewhere. Every
    prefix that such a move makes differs from the old one by a single exchange, so one game call
    a round, over all exchanges of all prefixes, tells the gain of every move. Moves over separate
    stretches of the order do not touch the same prefixes and are made in the same round.

    Args:
        game: any game.
        order: players in the order of removal, at least as many as the largest count.
        counts: prefix lengths that matter, ascending.
        limits: constraints on those prefixes, which the given order satisfies.
        most_rounds: rounds at most.
    """
    rest = limits.free[~np.isin(limits.free, order)]
    places, sizes = np.concatenate([order, rest]), np.asarray(counts)
    own = evaluate(game, _prefixes(places, sizes, limits.n))
    for _ in range(most_rounds):
        if not np.isfinite(own).all():  # a game may rule sets out: no gain can be told then
            break
        gains = _exchange_gains(game, places, sizes, own, limits)
        moves = _best_moves(gains, sizes)
        if not moves:
            break
        for kind, first, last in moves:
            places = _moved(places, kind, first, last)
        own = evaluate(game, _prefixes(places, sizes, limits.n))
    return places, own


def _prefixes(
    places: Int[np.ndarray, "f"], sizes: Int[np.ndarray, "k"], n: int
) -> Bool[np.ndarray, "k n"]:
    rows = np.ones((len(sizes), n), dtype=bool)
    for row, size in zip(rows, sizes, strict=True):
        row[places[:size]] = False
    return rows


def _exchange_gains(
    game: Game,
    places: Int[np.ndarray, "f"],
    sizes: Int[np.ndarray, "k"],
    own: Float[np.ndarray, "k"],
    limits: Limits,
) -> Float[np.ndarray, "k f f"]:
    """Returns what prefix c gains when place p inside it gives way to place q outside; else 0."""
    free = len(places)
    prefix, out, back = np.nonzero(
        (np.arange(free)[:, None] < sizes[:, None, None])
        & (np.arange(free) >= sizes[:, None, None])
    )
    gains = np.zeros((len(sizes), free, free))
    if not len(prefix):
        return gains
    rows = _prefixes(places, sizes, limits.n)[prefix]
    line = np.arange(len(rows))
    rows[line, places[out]] = True
    rows[line, places[back]] = False
    fits = np.ones(len(rows), dtype=bool) if limits.plain else limits.allowed(rows)
    values = np.full(len(rows), -np.inf)
    if fits.any():
        values[fits] = evaluate(game, rows[fits])
    gains[prefix, out, back] = values - own[prefix]
    return gains


def _best_moves(
    gains: Float[np.ndarray, "k f f"], sizes: Int[np.ndarray, "k"]
) -> list[tuple[str, int, int]]:
    """Returns moves that help, the best first, no two over the same stretch of the order.

    A move between places p < q changes the prefixes longer than p and no longer than q.
    """
    free = gains.shape[1]
    exchange = gains.sum(axis=0)
    later, sooner = np.zeros((free, free)), np.zeros((free, free))
    for size, gain in zip(sizes, gains, strict=True):
        if size < free:
            later[:size, size:] += gain[:size, size, None]  # p leaves, the next in line comes
            sooner[:size, size:] += gain[size - 1, size:]  # q comes, the last in line leaves
    kinds = np.stack([exchange, later, sooner])
    tolerance = 1e-12 * max(1.0, float(np.abs(kinds[np.isfinite(kinds)]).max(initial=0.0)))
    kind, first, last = np.nonzero(kinds > tolerance)
    ranked = np.argsort(-kinds[kind, first, last], kind="stable")
    names, taken, moves = ("exchange", "later", "sooner"), np.zeros(free, dtype=bool), []
    for place in ranked:
        p, q = int(first[place]), int(last[place])
        if not taken[p : q + 1].any():
            taken[p : q + 1] = True
            moves.append((names[kind[place]], p, q))
    return moves


def _moved(places: Int[np.ndarray, "f"], kind: str, p: int, q: int) -> Int[np.ndarray, "f"]:
    """Returns the order after a move between places p < q."""
    changed = places.copy()
    if kind == "exchange":
        changed[p], changed[q] = places[q], places[p]
    elif kind == "later":
        changed[p : q + 1] = np.roll(places[p : q + 1], -1)
    else:
        changed[p : q + 1] = np.roll(places[p : q + 1], 1)
    return changed
