"""Block Influence: once for all players, and anew after each removal.

Sources:
    Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect",
    arXiv 2403.03853, equation (1): the score, and one-shot removal of the lowest.
    Scoring anew on the current model after each removal is what MRP (repeated pruning of the layer
    with the highest non-outlier ratio) does with sparsity; this is its analogue in depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from decoder.baselines.arguments import check_counts, check_model
from decoder.baselines.block_influence import block_influence as influence_scores
from decoder.baselines.spend import Spend
from decoder.players import Roster
from shapley.baselines import rescored_removal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["block_influence", "rescored_influence"]


def block_influence(
    model: PreTrainedModel, tokens: Int[np.ndarray, "S T"], roster: Roster
) -> tuple[Float[np.ndarray, "n"], Spend]:
    """Each player's 1 - mean cosine between what enters and what leaves it.

    Args:
        model: the model; it is left as it is.
        tokens: calibration token ids.
        roster: who plays: layers, halves of layers or blocks.

    Returns:
        one score a player (the lowest is removed first), and one forward pass of the tokens.

    Raises:
        ValueError: tokens or roster do not fit.
        UnsupportedModel: the model's layers, or the halves that play, cannot be told.
    """
    _, ids = check_model(model, tokens, roster)
    return influence_scores(model, ids, roster), Spend(ids.size)


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
        lambda removed: influence_scores(model, ids, roster, removed),
        len(roster.names),
        wanted,
    )
    return dict(found.sets), Spend(ids.size * wanted[-1])
