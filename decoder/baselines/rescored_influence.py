"""Block Influence, scored anew after each removal.

Scoring anew on the current model after each removal is what MRP (repeated pruning of the layer
with the highest non-outlier ratio: Gao et al., arXiv 2503.18377) does with sparsity; this is its
analogue in depth, with the score of ShortGPT (Men et al., arXiv 2403.03853, equation 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from decoder.baselines.arguments import check_counts, check_model
from decoder.baselines.block_influence import block_influence
from decoder.baselines.context import ModelContext
from decoder.baselines.spend import Spend
from decoder.players import Roster
from shapley.baselines import Found, Method, rescored_removal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["METHOD", "rescored_influence"]


def rescored_influence(
    model: PreTrainedModel, tokens: Int[np.ndarray, "S T"], roster: Roster, counts: Sequence[int]
) -> tuple[dict[int, tuple[int, ...]], Spend]:
    """Remove the player of least Block Influence, score the shorter model, and so on.

    Args:
        model: the model; it is left as it is.
        tokens: calibration token ids.
        roster: who plays: layers, halves of layers or blocks.
        counts: how many players to remove.

    Returns:
        the removed players by count, each set within the next, and one forward pass of the tokens
        a removal.

    Raises:
        ValueError: tokens, roster or counts do not fit.
        UnsupportedModel: the model's layers, or the halves that play, cannot be told.
    """
    _, ids = check_model(model, tokens, roster)
    wanted = check_counts(roster, counts)
    found = rescored_removal(
        lambda removed: block_influence(model, ids, roster, removed)[0],
        len(roster.names),
        wanted,
    )
    return dict(found.sets), Spend(ids.size * wanted[-1])


def run_rescored_influence(context: ModelContext, counts: Sequence[int]) -> Found:
    """Block Influence, anew after each removal."""
    sets, spend = rescored_influence(context.model(), context.tokens, context.roster, counts)
    return Found(sets, tokens=spend.tokens)


METHOD = Method(
    name="re-scored Block Influence",
    source="the depth analogue of MRP: Gao et al., arXiv 2503.18377",
    needs="the model",
    kind="selects sets",
    passes=True,
    also=("mrp",),
    run=run_rescored_influence,
)
