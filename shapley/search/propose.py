"""Proposes sets of players to remove: all searches together, the best distinct sets first."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sampling.streams import stream
from shapley.game import Game, evaluate
from shapley.search.beam import beam_search
from shapley.search.candidate import Candidate, best_first, from_rows, limits_of, rows_of
from shapley.search.constraints import Limits
from shapley.search.drawing import draw_sets
from shapley.search.evolution import evolution_search
from shapley.search.exhaustive import exhaustive_search, sets_of
from shapley.search.greedy import greedy_removal
from shapley.search.nested import nested_chains
from shapley.search.quadratic import fit_quadratic, sample_near, strongest_pairs
from shapley.search.quadratic_program import solve_quadratic
from shapley.search.swap import swap_search

__all__ = ["Candidate", "propose"]

MOST_LED_THROUGH = 6
# Counts for which the quadratic view is solved, and rows that swap search may ask for, in all.
MOST_VIEWS = 6
SWAP_ROWS = 600_000

Found = dict[int, list[Candidate]]


def propose(
    game: Game,
    counts: Iterable[int],
    seed: int,
    per_count: int = 8,
    *,
    limits: Limits | None = None,
    nested: bool = False,
    effort: float = 1.0,
    width: int = 64,
    random_starts: int = 2,
    exhaustive_limit: int = 100_000,
) -> Found:
    """Returns the best sets that any search finds, for each number of removals.

    Where all sets of a size are at most ``exhaustive_limit`` they are all evaluated. Otherwise
    greedy removal, beam search, evolution, and (for up to six counts, spread evenly) the optimum of
    a linear + pairwise view are united, and swap search climbs from the best of them, and from
    random sets where exchanges are few enough to lead somewhere.

    The game may be a surrogate's mean, an upper bound, or any other acquisition
    (:class:`~shapley.game.FunctionGame` makes a game of a function): nothing is remembered
    between calls.

    Args:
        game: what to maximise; cheap, and fast on many rows.
        counts: numbers of players to remove.
        seed: of the random starts and moves.
        per_count: candidates to return for each count.
        limits: constraints on the sets.
        nested: whether the first candidates of all counts form one chain, each set inside the
            next, with the largest mean utility; sets of other chains and free sets follow.
        effort: scales the work of evolution; 0 leaves it and the view out.
        width: of the beam.
        random_starts: random sets from which swap search climbs as well.
        exhaustive_limit: the most sets of one size to enumerate.

    Returns:
        For each count ``per_count`` distinct candidates, or all there are that the searches
        meet, best first (nested: the chain's set first). ``source`` names the first search that
        found the set.

    Raises:
        ValueError: if a count cannot be reached, ``per_count`` is below 1 or the effort negative.
    """
    rules = limits_of(game, limits)
    wanted = rules.check(counts)
    if per_count < 1 or effort < 0:
        raise ValueError(
            f"per_count must be at least 1 candidate and effort at least 0, got {per_count} and"
            f" {effort}"
        )
    searched = [count for count in wanted if sets_of(rules, count) > exhaustive_limit]
    found: Found = {
        count: exhaustive_search(game, count, per_count, rules, exhaustive_limit)
        for count in wanted
        if count not in searched
    }
    if searched:
        known = _searches(game, searched, seed, per_count, rules, width, effort)
        view = effort > 0 and rules.pairs is None  # a quadratic programme knows no pairs
        viewed = {searched[at] for at in _spread(len(searched), MOST_VIEWS)} if view else ()
        for count in searched:
            if count in viewed:
                leaders = best_first(known[count], 4)
                known[count] += _of_the_view(game, count, seed, rules, leaders)
            found[count] = _finished(
                game,
                count,
                seed,
                per_count,
                rules,
                known[count],
                random_starts,
                SWAP_ROWS // len(searched),
            )
    if nested:
        best = [
            one for at in _spread(len(wanted), MOST_LED_THROUGH) for one in found[wanted[at]][:2]
        ]
        chains = nested_chains(game, wanted, max(width // 2, 1), rules, through=best)
        for count in wanted:
            heads = {chain.sets[count].removed: chain.sets[count] for chain in chains}
            rest = [one for one in found[count] if one.removed not in heads]
            found[count] = [*heads.values(), *rest][:per_count]
    return {count: found[count] for count in wanted}


def _searches(
    game: Game,
    counts: list[int],
    seed: int,
    per_count: int,
    limits: Limits,
    width: int,
    effort: float,
) -> Found:
    """Runs the searches that serve all counts at once."""
    greedy = greedy_removal(game, counts, limits)
    found = {count: [one] for count, one in greedy.items()}
    runs = [beam_search(game, counts, max(width, per_count), limits)]
    if effort > 0:
        rounds = max(1, round(30 * effort))
        runs.append(
            evolution_search(game, counts, seed, limits, generations=rounds, most=per_count)
        )
    for run in runs:
        for count in counts:
            found[count] += run[count]
    return found


def _finished(
    game: Game,
    count: int,
    seed: int,
    per_count: int,
    limits: Limits,
    known: list[Candidate],
    random_starts: int,
    most_rows: int,
) -> list[Candidate]:
    """Climbs from the best sets of the searches and from random sets."""
    starts = best_first([*best_first(known, 4), known[0]])
    exchanges = max(1, count * (len(limits.free) - count))
    # A random set is about as many exchanges away from a good one as it has players.
    if most_rows >= count * exchanges * (len(starts) + random_starts):
        starts = best_first([*starts, *_random_sets(game, limits, count, random_starts, seed)])
    rounds = max(2, min(100, most_rows // (exchanges * len(starts))))
    climbed = swap_search(game, starts, limits, most_rounds=rounds)
    return best_first([*known, *climbed], per_count)


def _spread(number: int, most: int) -> list[int]:
    """Returns at most ``most`` places out of a number of them, from the first to the last."""
    return np.unique(np.linspace(0, number - 1, most).round().astype(int)).tolist()


def _of_the_view(
    game: Game, count: int, seed: int, limits: Limits, leaders: list[Candidate]
) -> list[Candidate]:
    """Returns the best sets of a linear + pairwise view near the leaders, with true utilities."""
    rows, utilities = sample_near(
        game, count, seed, limits, size=500, around=rows_of(leaders, limits.n)
    )
    if not np.isfinite(utilities).any():
        return []
    view = strongest_pairs(fit_quadratic(rows, utilities), count, 3 * limits.n)
    solved = solve_quadratic(view.linear, view.pairs, count, limits, time_limit=10.0, node_limit=10)
    best = rows_of(solved.candidates, limits.n)
    return from_rows(best, evaluate(game, best), "quadratic")


def _random_sets(game: Game, limits: Limits, count: int, number: int, seed: int) -> list[Candidate]:
    if not number:
        return []
    rows = draw_sets(limits, count, number, stream(seed, "swap starts", count))
    return from_rows(rows, evaluate(game, rows), "random")
