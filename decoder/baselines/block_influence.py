"""Block Influence, the published one-shot score of a layer.

Source: Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect",
arXiv 2403.03853, equation (1): one minus the mean cosine between a layer's input and its output.
For half layers and blocks it is the same with what comes before and after them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from decoder.baselines.arguments import check_model
from decoder.baselines.context import ModelContext
from decoder.baselines.spend import Spend
from decoder.evaluate.steps import Node, Steps
from decoder.model.trace import record, record_calls
from decoder.players import Roster
from shapley.baselines import Found, Method, in_order

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["METHOD", "block_influence"]


@torch.inference_mode()
def block_influence(
    model: PreTrainedModel,
    tokens: Int[np.ndarray, "S T"],
    roster: Roster,
    removed: Collection[int] = (),
) -> tuple[Float[np.ndarray, "n"], Spend]:
    """1 - mean over tokens of cos(before, after) for each player; the lowest is removed first.

    Args:
        model: the model; it is left as it is.
        tokens: calibration token ids.
        roster: who plays: layers, halves of layers or blocks.
        removed: players that are left out of the model meanwhile; their scores are infinite.

    Returns:
        one score a player, and one forward pass of the tokens.

    Raises:
        ValueError: tokens or roster do not fit.
        UnsupportedModel: the model's layers, or the halves that play, cannot be told.
    """
    stack, rows = check_model(model, tokens, roster)
    steps = Steps(roster, None)
    gone = set(removed)
    total = np.zeros(len(roster.names))
    # One whole pass shows that the layers can be called one by one, and what they return.
    returns = record(model, stack, torch.from_numpy(rows[:1]).to(model.device)).returns
    for row in rows:
        ids = torch.from_numpy(row[None]).to(model.device)
        start, calls = record_calls(model, stack, ids, returns)
        node = Node((start,))
        for slot in roster.slots:
            if slot.player in gone:
                continue
            before = node.state[0]
            for unit in slot.units:
                node = steps.run(unit, calls, node)
            if slot.player is not None:
                cosine = torch.cosine_similarity(before.float(), node.state[0].float(), dim=-1)
                total[slot.player] += (1 - cosine).mean().item()
    total[sorted(gone)] = np.inf
    return total / len(rows), Spend(rows.size)


def run_block_influence(context: ModelContext, counts: Sequence[int]) -> Found:
    """ShortGPT: the lowest scores, one shot."""
    scores, spend = block_influence(context.model(), context.tokens, context.roster)
    sets = in_order(np.argsort(scores, kind="stable"), counts)
    return Found(sets, tokens=spend.tokens)


METHOD = Method(
    name="Block Influence",
    source="ShortGPT: Men et al., arXiv 2403.03853, equation 1",
    needs="the model",
    kind="selects sets",
    passes=True,
    also=("shortgpt",),
    default=3,
    run=run_block_influence,
)
