"""Single ablation: remove each player alone, then those that cost least.

The usual way to ask what a layer does, for example in Csordás et al., "Do Language Models Use
Their Depth Efficiently?", arXiv 2505.13898. What two players cost together is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from shapley.baselines.found import Found, in_order
from shapley.baselines.method import Method, MethodContext
from shapley.game import Game

__all__ = ["METHOD", "single_ablation"]


def single_ablation(game: Game, counts: Iterable[int]) -> Found:
    """Returns the players whose removal alone costs least; ``n`` evaluations, one game call.

    Raises:
        ValueError: if a count cannot be reached.
    """
    n = len(game.players)
    utilities = np.asarray(game(~np.eye(n, dtype=bool)))
    return Found(in_order(np.argsort(-utilities, kind="stable"), counts), n)


def run_single_ablation(context: MethodContext, counts: Sequence[int]) -> Found:
    """Single ablation by the run's utility."""
    return single_ablation(context.game(context.utility), counts)


METHOD = Method(
    name="single ablation",
    source="for example Csordás et al., arXiv 2505.13898",
    needs="evaluations of the run's utility",
    kind="selects sets",
    metric="utility",
    also=("ablation",),
    default=2,
    price=lambda n, counts: n,
    run=run_single_ablation,
)
