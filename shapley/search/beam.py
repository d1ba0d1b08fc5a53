"""Beam search: remove players one at a time, going on with the best sets of each size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from sampling.coalitions import distinct, full
from shapley.game import Game, evaluate
from shapley.search.candidate import Candidate, from_rows, limits_of
from shapley.search.constraints import Limits

__all__ = ["beam_search", "grow"]

Expand = Callable[[Bool[np.ndarray, "W n"]], tuple[Bool[np.ndarray, "B n"], Float[np.ndarray, "B"]]]


def beam_search(
    game: Game,
    counts: Iterable[int],
    width: int,
    limits: Limits | None = None,
    source: str = "beam",
) -> dict[int, list[Candidate]]:
    """Returns the best sets found for each number of removals.

    One game call a step, over every set that removes one more player from one of the sets kept in
    the step before. The sets of a wanted count satisfy the limits; on the way there a set is kept
    only while it can still grow into one that does. Where limits bind, each wanted count keeps
    the best ``width`` sets that can reach it.

    Args:
        game: any game; a surrogate as a rule.
        counts: numbers of players to remove.
        width: sets that survive a step. Width 1 is greedy removal.
        limits: constraints on the sets.
        source: name given to the candidates.

    Returns:
        For each count between 1 and ``width`` candidates, best first. Where several savings at
        once end every path, the one candidate is the set that saves most.

    Raises:
        ValueError: if the width is below 1 or a count cannot be reached.
    """
    rules = limits_of(game, limits)
    wanted = rules.check(counts)
    if width < 1:
        raise ValueError(f"width must be at least 1 set, got {width}")

    def expand(
        beam: Bool[np.ndarray, "W n"],
    ) -> tuple[Bool[np.ndarray, "B n"], Float[np.ndarray, "B"]]:
        rows = distinct(children(beam, rules.free)[0])
        return rows, evaluate(game, rows)

    return grow(expand, lambda rows: evaluate(game, rows), wanted, width, rules, source)


def grow(
    expand: Expand,
    mean: Callable[[Bool[np.ndarray, "B n"]], Float[np.ndarray, "B"]],
    wanted: Sequence[int],
    width: int,
    rules: Limits,
    source: str = "beam",
) -> dict[int, list[Candidate]]:
    """Returns what :func:`beam_search` does, its steps made by a function.

    Args:
        expand: takes a beam to the distinct sets that remove one more free player, and their
            utilities.
        mean: utilities of any sets.
        wanted: numbers of players to remove, ascending.
        width: sets that survive a step.
        rules: constraints on the sets.
        source: name given to the candidates.
    """
    beam, found = full(rules.n)[None], {}
    for size in range(1, wanted[-1] + 1):
        rows, utilities = expand(beam)
        targets = [count for count in wanted if count >= size]
        if size in wanted:
            best = _best(utilities, rules.allowed(rows), width)
            found[size] = from_rows(rows[best], utilities[best], source)
            if not found[size] and (row := rules.some_row(size)) is not None:
                found[size] = from_rows(row[None], mean(row[None]), source)
        beam = rows[_survivors(rows, utilities, rules, targets, width)]
    return found


def children(
    beam: Bool[np.ndarray, "W n"], free: np.ndarray
) -> tuple[Bool[np.ndarray, "B n"], Int[np.ndarray, "B"], Int[np.ndarray, "B"]]:
    """Returns the coalitions that lack one more of the free players, their parents and players."""
    parent, place = np.nonzero(beam[:, free])
    rows, player = beam[parent], free[place]
    rows[np.arange(len(rows)), player] = False
    return rows, parent, player


def _survivors(
    rows: Bool[np.ndarray, "B n"],
    utilities: Float[np.ndarray, "B"],
    limits: Limits,
    targets: Sequence[int],
    width: int,
) -> Int[np.ndarray, "W"]:
    """Returns the places of the best sets that can still grow into each of the targets."""
    if limits.plain:
        return np.argsort(-utilities, kind="stable")[:width]
    kept = [_best(utilities, limits.completable(rows, count), width) for count in targets]
    return np.unique(np.concatenate([*kept, np.empty(0, dtype=np.int64)]))


def _best(
    utilities: Float[np.ndarray, "B"], fits: Bool[np.ndarray, "B"], width: int
) -> Int[np.ndarray, "W"]:
    """Returns the places of the best utilities among those that fit, best first."""
    places = np.flatnonzero(fits)
    return places[np.argsort(-utilities[places], kind="stable")[:width]]
