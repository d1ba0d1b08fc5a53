"""Re-scoring: remove the player with the lowest score, score what is left anew, repeat.

The depth analogue of Maximum Redundancy Pruning (Gao et al., arXiv 2503.18377), which prunes a
little where the current model is most redundant and measures the redundancy again. With utilities
as scores it is greedy removal; it is meant for scores that one pass over the text gives for all
players at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float

from shapley.baselines.found import Found, checked_counts

__all__ = ["rescored_removal"]


def rescored_removal(
    score: Callable[[tuple[int, ...]], Float[np.ndarray, "n"]],
    n: int,
    counts: Iterable[int],
    protected: Sequence[int] = (),
) -> Found:
    """Returns nested sets, each step by the scores of the model that the step before left.

    Args:
        score: from the sorted removed players to one number a player, the lowest is removed next;
            numbers of removed and protected players are not looked at.
        n: number of players.
        counts: numbers of players to remove.
        protected: players that stay.

    Returns:
        The sets; scores are counted as evaluations, one a removal.

    Raises:
        ValueError: if a count cannot be reached or the scores do not fit.
    """
    free = [player for player in range(n) if player not in set(protected)]
    wanted = checked_counts(len(free), counts)
    removed: tuple[int, ...] = ()
    sets = {}
    for step in range(1, wanted[-1] + 1):
        scores = np.asarray(score(removed), dtype=np.float64)
        if scores.shape != (n,):
            raise ValueError(f"score must return {n} numbers, got shape {list(scores.shape)}")
        left = [player for player in free if player not in removed]
        worst = left[int(np.argmin(scores[left]))]
        removed = tuple(sorted((*removed, worst)))
        if step in wanted:
            sets[step] = removed
    return Found(sets, wanted[-1])
