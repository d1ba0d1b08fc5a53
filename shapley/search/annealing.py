"""Simulated annealing over sets: many chains of random exchanges, cooled together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from sampling.streams import stream
from shapley.game import Game, evaluate
from shapley.search.candidate import Candidate, best_rows, limits_of
from shapley.search.constraints import Limits
from shapley.search.drawing import draw_sets, exchanged

__all__ = ["annealing_search"]


def annealing_search(
    game: Game,
    counts: Iterable[int],
    seed: int,
    limits: Limits | None = None,
    *,
    chains: int = 16,
    steps: int = 200,
    most: int = 16,
    hottest: float = 0.5,
    coldest: float = 0.005,
) -> dict[int, list[Candidate]]:
    """Returns the best sets that annealed chains visit, for each number of removals.

    The chains of all counts take their steps together, one game call a step. A step exchanges one
    removed player for a kept one; the move is taken if it helps, otherwise with probability
    exp(change / temperature) (Kirkpatrick, Gelatt & Vecchi, Science 220, 1983). The temperature
    falls geometrically from ``hottest`` to ``coldest`` times the spread that the game shows on
    the random starts of the count.

    Args:
        game: any game; a surrogate as a rule.
        counts: numbers of players to remove.
        seed: of the starts and the moves.
        limits: constraints on the sets; moves that break them are not taken.
        chains: chains for each count.
        steps: moves proposed to each chain.
        most: candidates to return for each count.
        hottest: first temperature, in standard deviations of utility among random sets.
        coldest: last temperature, in the same unit.

    Returns:
        For each count at most ``most`` distinct candidates, best first.

    Raises:
        ValueError: if a count cannot be reached, or a setting is not positive.
    """
    rules = limits_of(game, limits)
    wanted = rules.check(counts)
    if min(chains, steps, most) < 1 or not 0 < coldest <= hottest:
        raise ValueError(
            "chains, steps and most must be at least 1 and coldest between 0 and hottest, got"
            f" {chains}, {steps}, {most} and {coldest} to {hottest}"
        )
    starts = [
        draw_sets(rules, count, chains, stream(seed, "annealing starts", count)) for count in wanted
    ]
    rng = stream(seed, "annealing moves")
    rows = np.concatenate(starts)
    utilities = evaluate(game, rows)
    spread = _spread(utilities.reshape(len(wanted), chains)).repeat(chains)
    seen_rows, seen_utilities = [rows.copy()], [utilities.copy()]
    for temperature in np.geomspace(hottest, coldest, steps):
        moved = exchanged(rows, rules.free, rng)
        fits = rules.allowed(moved)
        moved[~fits] = rows[~fits]  # one shape for every call: compiled games compile once
        values = evaluate(game, moved)
        threshold = temperature * spread * np.log1p(-rng.random(len(rows)))
        taken = values >= utilities + threshold
        rows[taken], utilities[taken] = moved[taken], values[taken]
        seen_rows.append(moved)
        seen_utilities.append(values)
    visited = np.stack(seen_rows).reshape(-1, len(wanted), chains, rules.n)
    values = np.stack(seen_utilities).reshape(-1, len(wanted), chains)
    return {
        count: best_rows(
            visited[:, at].reshape(-1, rules.n), values[:, at].ravel(), "annealing", most
        )
        for at, count in enumerate(wanted)
    }


def _spread(utilities: Float[np.ndarray, "k c"]) -> Float[np.ndarray, "k"]:
    """Returns the standard deviation of the finite utilities of each count, never zero."""
    finite = np.isfinite(utilities)
    number = np.maximum(finite.sum(axis=1), 1)
    values = np.where(finite, utilities, 0.0)
    mean = values.sum(axis=1) / number
    variance = (np.where(finite, values - mean[:, None], 0.0) ** 2).sum(axis=1) / number
    return np.sqrt(variance) + 1e-12
