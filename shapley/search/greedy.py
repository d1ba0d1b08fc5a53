"""Greedy backward removal: always drop the player whose loss hurts least."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shapley.game import Game
from shapley.search.beam import beam_search
from shapley.search.candidate import Candidate

__all__ = ["greedy_removal"]


def greedy_removal(
    game: Game, counts: Iterable[int], protected: Sequence[int] = ()
) -> dict[int, Candidate]:
    """Returns the nested sets that greedy removal finds, one for each number of removals.

    Works on any game: on the real one it is the search of SLEB (Song et al., ICML 2024), at
    ``n + (n-1) + ...`` evaluations, one batch a step.

    Raises:
        ValueError: if a count cannot be reached.
    """
    found = beam_search(game, counts, 1, protected, source="greedy")
    return {count: candidates[0] for count, candidates in found.items()}
