"""Evolutionary search over sets: crossover that keeps the count, exchanges as mutation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from sampling.streams import stream
from shapley.game import Game, evaluate
from shapley.search.candidate import Candidate, best_rows, limits_of
from shapley.search.constraints import Limits
from shapley.search.drawing import draw_sets, exchanged

__all__ = ["evolution_search"]

MOST_EXCHANGES = 4


def evolution_search(
    game: Game,
    counts: Iterable[int],
    seed: int,
    limits: Limits | None = None,
    *,
    population: int = 48,
    generations: int = 40,
    most: int = 16,
    mutation: float = 0.7,
) -> dict[int, list[Candidate]]:
    """Returns the best sets of an evolved population, for each number of removals.

    The populations of all counts evolve side by side, one game call a generation. Both parents of
    a child win a tournament of two; the child removes what both remove and fills up at random
    from what one of them removes; then it exchanges a player with probability ``mutation``, and
    another with the same probability after each, four at most.
    Parents and children compete together, each set once, so the best are never lost.

    Args:
        game: any game; a surrogate as a rule.
        counts: numbers of players to remove.
        seed: of the first population and of all choices.
        limits: constraints on the sets; children that break them die.
        population: sets of each count that live on.
        generations: rounds.
        most: candidates to return for each count.
        mutation: probability of an exchange, and of a further one.

    Returns:
        For each count at most ``most`` distinct candidates, best first.

    Raises:
        ValueError: if a count cannot be reached, or a setting is out of range.
    """
    rules = limits_of(game, limits)
    wanted = rules.check(counts)
    if population < 2 or generations < 1 or most < 1 or not 0 <= mutation <= 1:
        raise ValueError(
            "population must be at least 2, generations and most at least 1, mutation between 0"
            f" and 1, got {population}, {generations}, {most} and {mutation}"
        )
    rng = stream(seed, "evolution")
    marks = rng.integers(1 << 63, size=rules.n, dtype=np.uint64)
    first = [
        draw_sets(rules, count, population, stream(seed, "first population", count))
        for count in wanted
    ]
    living, sizes = np.stack(first), np.array(wanted)
    utilities = evaluate(game, living.reshape(-1, rules.n)).reshape(len(wanted), -1)
    for _ in range(generations):
        children = _children(living, utilities, sizes, rules.free, mutation, rng)
        flat = children.reshape(-1, rules.n)
        fits = rules.allowed(flat)
        values = np.where(fits, evaluate(game, flat), -np.inf).reshape(len(wanted), -1)
        living, utilities = _survivors(
            np.concatenate([living, children], axis=1),
            np.concatenate([utilities, values], axis=1),
            marks,
            population,
        )
    found = {}
    for at, count in enumerate(wanted):
        fits = rules.allowed(living[at])
        found[count] = best_rows(living[at][fits], utilities[at][fits], "evolution", most)
    return found


def _children(
    living: Bool[np.ndarray, "k p n"],
    utilities: Float[np.ndarray, "k p"],
    sizes: Int[np.ndarray, "k"],
    free: Int[np.ndarray, "f"],
    mutation: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, "k p n"]:
    """Returns as many children as there are living sets, each of the size of its parents."""
    counts, people, n = living.shape
    group = np.arange(counts)[:, None]
    entrants = rng.integers(people, size=(2, 2, counts, people))
    first = utilities[group, entrants[0]] >= utilities[group, entrants[1]]
    winners = np.where(first, entrants[0], entrants[1])
    gone = (~living[group, winners[0]]).astype(float) + ~living[group, winners[1]]
    urge = gone[..., free] + rng.random((counts, people, len(free)))
    rank = np.argsort(np.argsort(-urge, axis=2), axis=2)
    children = np.ones((counts * people, n), dtype=bool)
    children[:, free] = (rank >= sizes[:, None, None]).reshape(-1, len(free))
    mutants = np.arange(len(children))
    for _ in range(MOST_EXCHANGES):
        mutants = mutants[rng.random(len(mutants)) < mutation]
        children[mutants] = exchanged(children[mutants], free, rng)
    return children.reshape(counts, people, n)


def _survivors(
    rows: Bool[np.ndarray, "k q n"],
    utilities: Float[np.ndarray, "k q"],
    marks: UInt64[np.ndarray, "n"],
    population: int,
) -> tuple[Bool[np.ndarray, "k p n"], Float[np.ndarray, "k p"]]:
    """Returns the best of each count; a set that is there twice counts once."""
    names = rows @ marks  # wraps around: a hash of each set
    order = np.argsort(names, axis=1, kind="stable")
    sorted_names = np.take_along_axis(names, order, axis=1)
    again = np.zeros_like(order, dtype=bool)
    again[:, 1:] = sorted_names[:, 1:] == sorted_names[:, :-1]
    repeated = np.zeros_like(again)
    np.put_along_axis(repeated, order, again, axis=1)
    values = np.where(repeated, -np.inf, utilities)
    best = np.argsort(-values, axis=1, kind="stable")[:, :population]
    return np.take_along_axis(rows, best[..., None], axis=1), np.take_along_axis(
        values, best, axis=1
    )
