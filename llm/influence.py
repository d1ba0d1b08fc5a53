"""Block Influence, the published one-shot score of a layer.

Source: Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect",
arXiv 2403.03853, equation (1): one minus the mean cosine between a layer's input and its output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int

from llm.structure import find_stack
from llm.trace import record

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["block_influence"]


@torch.inference_mode()
def block_influence(
    model: PreTrainedModel, tokens: Int[np.ndarray, "S T"]
) -> Float[np.ndarray, "n"]:
    """1 - mean over tokens of cos(h_i, h_{i+1}) for each layer; the lowest is removed first."""
    stack = find_stack(model)
    total = torch.zeros(len(stack), dtype=torch.float64)
    for row in tokens:
        ids_1T = torch.from_numpy(row[None]).to(model.device)
        inputs = record(model, stack, ids_1T, every_input=True).inputs
        for i in range(len(stack)):
            cosine = torch.cosine_similarity(inputs[i].float(), inputs[i + 1].float(), dim=-1)
            total[i] += (1 - cosine).mean().item()
    return (total / len(tokens)).numpy()
