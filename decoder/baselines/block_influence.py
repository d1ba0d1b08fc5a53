"""Block Influence, the published one-shot score of a layer.

Source: Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect",
arXiv 2403.03853, equation (1): one minus the mean cosine between a layer's input and its output.
For half layers and blocks it is the same with what comes before and after them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from decoder.evaluate.steps import Node, Steps
from decoder.model.structure import find_stack
from decoder.model.trace import record, record_calls
from decoder.players import Roster

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["block_influence"]


@torch.inference_mode()
def block_influence(
    model: PreTrainedModel,
    tokens: Int[np.ndarray, "S T"],
    roster: Roster,
    removed: Collection[int] = (),
) -> Float[np.ndarray, "n"]:
    """1 - mean over tokens of cos(before, after) for each player; the lowest is removed first.

    Args:
        model: the model.
        tokens: token ids.
        roster: who plays.
        removed: players that are left out of the model meanwhile; their scores are infinite.

    Raises:
        UnsupportedModel: the model's layers, or the halves that play, cannot be told.
    """
    stack, steps = find_stack(model), Steps(roster, None)
    gone = set(removed)
    total = np.zeros(len(roster.names))
    # One whole pass shows that the layers can be called one by one, and what they return.
    returns = record(model, stack, torch.from_numpy(tokens[:1]).to(model.device)).returns
    for row in tokens:
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
    return total / len(tokens)
