"""Proposes sets of players to remove: all searches together, the best distinct sets first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from sampling.streams import stream
from shapley.game import Game, evaluate
from shapley.search.beam import beam_search
from shapley.search.candidate import Candidate, best_first, removable
from shapley.search.exhaustive import exhaustive_search
from shapley.search.greedy import greedy_removal
from shapley.search.swap import swap_search

__all__ = ["Candidate", "propose"]


def propose(
    game: Game,
    counts: Iterable[int],
    seed: int,
    per_count: int = 8,
    *,
    width: int = 64,
    random_starts: int = 4,
    protected: Sequence[int] = (),
    exhaustive_limit: int = 100_000,
) -> dict[int, list[Candidate]]:
    """Returns the best sets that any search finds, for each number of removals.

    Where all sets of a size are at most ``exhaustive_limit`` they are all evaluated. Otherwise
    greedy removal, beam search, and swap search from the best of the beam, from the greedy set
    and from random sets are united.

    Args:
        game: the surrogate.
        counts: numbers of players to remove.
        seed: of the random starts.
        per_count: candidates to return for each count.
        width: of the beam.
        random_starts: random sets from which swap search climbs as well.
        protected: players that stay.
        exhaustive_limit: the most sets of one size to enumerate.

    Returns:
        For each count at most ``per_count`` distinct candidates, best first. ``source`` names
        the first search that found the set.

    Raises:
        ValueError: if a count cannot be reached or ``per_count`` is below 1.
    """
    n, wanted = len(game.players), sorted(set(counts))
    free = removable(n, wanted, protected)
    if per_count < 1:
        raise ValueError(f"per_count must be at least 1 candidate, got {per_count}")
    found: dict[int, list[Candidate]] = {}
    searched = [count for count in wanted if math.comb(len(free), count) > exhaustive_limit]
    greedy = greedy_removal(game, searched, protected) if searched else {}
    beams = beam_search(game, searched, max(width, per_count), protected) if searched else {}
    for count in wanted:
        if count not in beams:
            found[count] = exhaustive_search(game, count, per_count, protected, exhaustive_limit)
            continue
        drawn = _random_sets(game, free, count, random_starts, seed)
        known = [greedy[count], *beams[count]]
        starts = best_first([greedy[count], *beams[count][:per_count], *drawn])
        climbed = swap_search(game, starts, protected)
        found[count] = best_first([*known, *climbed], per_count)
    return found


def _random_sets(
    game: Game, free: np.ndarray, count: int, number: int, seed: int
) -> list[Candidate]:
    rng, n = stream(seed, "swap starts", count), len(game.players)
    sets = [np.sort(rng.choice(free, size=count, replace=False)) for _ in range(number)]
    if not sets:
        return []
    rows = np.ones((number, n), dtype=bool)
    rows[np.arange(number)[:, None], np.stack(sets)] = False
    utilities = evaluate(game, rows)
    return [
        Candidate(tuple(one.tolist()), float(utility), "random")
        for one, utility in zip(sets, utilities, strict=True)
    ]
