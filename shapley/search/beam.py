"""Beam search: remove players one at a time, going on with the best sets of each size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool

from sampling.coalitions import distinct, full
from shapley.game import Game, evaluate
from shapley.search.candidate import Candidate, from_rows, removable

__all__ = ["beam_search"]


def beam_search(
    game: Game,
    counts: Iterable[int],
    width: int,
    protected: Sequence[int] = (),
    source: str = "beam",
) -> dict[int, list[Candidate]]:
    """Returns the best sets found for each number of removals.

    One game call a step, over every set that removes one more player from one of the ``width``
    best sets of the step before.

    Args:
        game: any game; a surrogate as a rule.
        counts: numbers of players to remove.
        width: sets that survive a step. Width 1 is greedy removal.
        protected: players that stay.
        source: name given to the candidates.

    Returns:
        For each count, at most ``width`` candidates, best first.

    Raises:
        ValueError: if the width is below 1 or a count cannot be reached.
    """
    n, wanted = len(game.players), sorted(set(counts))
    free = removable(n, wanted, protected)
    if width < 1:
        raise ValueError(f"width must be at least 1 set, got {width}")
    beam, found = full(n)[None], {}
    for removed in range(1, wanted[-1] + 1):
        children = _children(beam, free)
        utilities = evaluate(game, children)
        best = np.argsort(-utilities, kind="stable")[:width]
        beam = children[best]
        if removed in wanted:
            found[removed] = from_rows(beam, utilities[best], source)
    return found


def _children(beam: Bool[np.ndarray, "W n"], free: np.ndarray) -> Bool[np.ndarray, "B n"]:
    """Returns the distinct coalitions that lack one more of the free players."""
    parent, place = np.nonzero(beam[:, free])
    children = beam[parent]
    children[np.arange(len(children)), free[place]] = False
    return distinct(children)
