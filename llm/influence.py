"""Block Influence, the published one-shot score of a layer.

Source: Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect",
arXiv 2403.03853, equation (1): one minus the mean cosine between a layer's input and its output.
For half layers and blocks it is the same with what comes before and after them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from llm.players import Roster
from llm.steps import Node, Steps
from llm.structure import find_stack
from llm.trace import record

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["block_influence"]


@torch.inference_mode()
def block_influence(
    model: PreTrainedModel, tokens: Int[np.ndarray, "S T"], roster: Roster
) -> Float[np.ndarray, "n"]:
    """1 - mean over tokens of cos(before, after) for each player; the lowest is removed first."""
    stack, steps = find_stack(model), Steps(roster, None)
    total = np.zeros(len(roster.names))
    for row in tokens:
        trace = record(model, stack, torch.from_numpy(row[None]).to(model.device))
        node = Node(trace.inputs[:1])
        for slot in roster.slots:
            before = node.state[0]
            for unit in slot.units:
                node = steps.run(unit, trace.calls, node)
            if slot.player is not None:
                cosine = torch.cosine_similarity(before.float(), node.state[0].float(), dim=-1)
                total[slot.player] += (1 - cosine).mean().item()
    return total / len(tokens)
