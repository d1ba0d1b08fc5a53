"""Greedy backward removal: always drop the player whose loss hurts least."""

from __future__ import annotations

from collections.abc import Iterable

from shapley.game import Game
from shapley.search.beam import beam_search
from shapley.search.candidate import Candidate
from shapley.search.constraints import Limits

__all__ = ["greedy_removal"]


def greedy_removal(
    game: Game, counts: Iterable[int], limits: Limits | None = None
) -> dict[int, Candidate]:
    """Returns the sets that greedy removal finds, one for each number of removals.

    Works on any game: on the real one it is the search of SLEB (Song et al., ICML 2024), at
    ``n + (n-1) + ...`` evaluations, one batch a step. The sets are nested unless savings or runs
    are asked for, which lead each count along a path of its own where they bind.

    Args:
        game: any game.
        counts: numbers of players to remove.
        limits: constraints on the sets.

    Raises:
        ValueError: if a count cannot be reached.
    """
    found = beam_search(game, counts, 1, limits, source="greedy")
    return {count: candidates[0] for count, candidates in found.items()}
