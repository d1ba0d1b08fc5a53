"""Nested sets: one chain in which every wanted set contains the smaller ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from sampling.coalitions import full, keys
from shapley.game import Game, evaluate
from shapley.search.candidate import Candidate, limits_of, rows_of
from shapley.search.constraints import Limits
from shapley.search.reorder import improve_order

__all__ = ["Chain", "nested_chains", "nested_search"]


@dataclass(frozen=True)
class Chain:
    """Nested sets of players to remove.

    Attributes:
        sets: the candidate of each wanted count; each contains the one before.
        score: mean utility over the wanted counts.
    """

    sets: dict[int, Candidate]
    score: float


@dataclass(frozen=True, eq=False)
class _Beam:
    """Partial chains of one size: their orders of removal and the sum of wanted utilities."""

    orders: Int[np.ndarray, "W s"]
    rows: Bool[np.ndarray, "W n"]
    sums: Float[np.ndarray, "W"]


def nested_search(
    game: Game, counts: Iterable[int], width: int = 32, limits: Limits | None = None
) -> dict[int, Candidate]:
    """Returns the best chain of nested sets found: the candidate of each count.

    See :func:`nested_chains`.

    Args:
        game: any game; a surrogate as a rule.
        counts: numbers of players to remove.
        width: chains that are kept at each step.
        limits: constraints on the sets.

    Raises:
        ValueError: if the width is below 1, a count cannot be reached, or no chain is found.
    """
    return nested_chains(game, counts, width, limits)[0].sets


def nested_chains(
    game: Game,
    counts: Iterable[int],
    width: int = 32,
    limits: Limits | None = None,
    most: int = 4,
    through: Sequence[Candidate] = (),
) -> list[Chain]:
    """Returns chains of nested sets with the largest mean utility over the counts.

    A beam over orders of removal keeps, at each size, the chains with the largest sum of
    utilities so far, one for each set; the best of them are then improved by exchanging and
    moving players in the order of removal. Unbroken runs are solved exactly.

    Args:
        game: any game; a surrogate as a rule.
        counts: numbers of players to remove.
        width: chains that survive a step.
        limits: constraints that the set of every count satisfies.
        most: chains to improve and to return, best first; different ones may share sets.
        through: sets of wanted counts, such as the best free ones; a narrow beam leads through
            each of them as well.

    Raises:
        ValueError: if width or ``most`` is below 1, a count cannot be reached, or no chain is
            found although each count alone can be reached.
    """
    rules = limits_of(game, limits)
    wanted = rules.check(counts)
    if min(width, most) < 1:
        raise ValueError(f"width and most must be at least 1 chain, got {width} and {most}")
    if rules.contiguous:
        return _nested_runs(game, wanted, rules)
    beams = [_beam(game, wanted, rules, width)]
    narrow = max(1, width // 8)
    for row in rows_of(through, rules.n):
        beams.append(_beam(game, wanted, rules, narrow, ~row))
    reached = [beam for beam in beams if beam is not None]
    if not reached and (row := rules.some_row(wanted[0])) is not None:
        beam = _beam(game, wanted, rules, width, ~row)
        reached += [] if beam is None else [beam]
    if not reached:
        raise ValueError(_no_chain(wanted))
    sums = np.concatenate([beam.sums for beam in reached])
    orders = np.concatenate([beam.orders for beam in reached])
    found: dict[tuple[tuple[int, ...], ...], Chain] = {}
    for order in orders[np.argsort(-sums, kind="stable")[: most + len(through)]]:
        improved, utilities = improve_order(game, order, wanted, rules)
        sets = {
            count: Candidate(tuple(sorted(improved[:count].tolist())), float(utility), "nested")
            for count, utility in zip(wanted, utilities, strict=True)
        }
        chain = Chain(sets, float(utilities.mean()))
        found.setdefault(tuple(one.removed for one in sets.values()), chain)
    return sorted(found.values(), key=lambda chain: -chain.score)[:most]


def _beam(
    game: Game,
    wanted: tuple[int, ...],
    limits: Limits,
    width: int,
    through: Bool[np.ndarray, "n"] | None = None,
) -> _Beam | None:
    """Returns the best partial chains at the last count, None if every path ends before it.

    All players of ``through`` go before any other one does.
    """
    first = np.ones(limits.n, dtype=bool) if through is None else through
    beam = _Beam(np.empty((1, 0), dtype=np.int64), full(limits.n)[None], np.zeros(1))
    for size in range(1, wanted[-1] + 1):
        may_go = np.zeros(limits.n, dtype=bool)
        may_go[limits.free] = True
        if size <= first.sum():
            may_go &= first
        parent, player = np.nonzero(beam.rows & may_go)
        rows = beam.rows[parent]
        rows[np.arange(len(rows)), player] = False
        fits = limits.allowed(rows) if size in wanted else np.ones(len(rows), dtype=bool)
        if not limits.plain and len(rows):
            for count in wanted:
                fits &= limits.completable(rows, count) if count > size else True
        parent, player, rows = parent[fits], player[fits], rows[fits]
        if not len(rows):
            return None
        utilities = evaluate(game, rows)
        sums = beam.sums[parent] + (utilities if size in wanted else 0.0)
        ahead = sums if size in wanted else sums + utilities
        best = _one_a_set(rows, ahead, width)
        orders = np.column_stack([beam.orders[parent[best]], player[best]])
        beam = _Beam(orders, rows[best], sums[best])
    return beam


def _one_a_set(
    rows: Bool[np.ndarray, "B n"], scores: Float[np.ndarray, "B"], width: int
) -> Int[np.ndarray, "W"]:
    """Returns the places of the best scores, the first of each set; the future knows only sets."""
    order = np.argsort(-scores, kind="stable")
    seen: set[bytes] = set()
    best: list[int] = []
    for place, key in zip(order.tolist(), keys(rows[order]), strict=True):
        if key not in seen:
            seen.add(key)
            best.append(place)
            if len(best) == width:
                break
    return np.array(best)


def _nested_runs(game: Game, wanted: tuple[int, ...], limits: Limits) -> list[Chain]:
    """Returns the best chain of unbroken runs, by dynamic programming over all runs."""
    runs = [limits.runs(count) for count in wanted]
    utilities = [evaluate(game, rows) for rows in runs]
    total, back = utilities[0], []
    for smaller, rows, own in zip(runs[:-1], runs[1:], utilities[1:], strict=True):
        inside = (rows[:, None, :] <= smaller[None]).all(axis=2)
        reach = np.where(inside, total, -np.inf)
        back.append(reach.argmax(axis=1))
        total = own + reach.max(axis=1)
    at = int(total.argmax())
    if total[at] == -np.inf:
        raise ValueError(_no_chain(wanted))
    places = [at]
    for step in reversed(back):
        places.append(int(step[places[-1]]))
    sets = {}
    for count, rows, values, place in zip(wanted, runs, utilities, places[::-1], strict=True):
        removed = tuple(np.flatnonzero(~rows[place]).tolist())
        sets[count] = Candidate(removed, float(values[place]), "nested")
    return [Chain(sets, float(total[at]) / len(wanted))]


def _no_chain(wanted: tuple[int, ...]) -> str:
    return (
        f"counts {wanted[0]} to {wanted[-1]} have no nested sets that satisfy the limits together;"
        " search each count freely or lower a saving"
    )
