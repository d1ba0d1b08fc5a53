"""Counted work: floating-point operations that measuring coalitions takes, whatever the machine.

For one token, with matrix products and attention counted and the rest (norms, activations,
softmax) left out:

    layer = 2 * (entries of the layer's weight matrices) + 4 * T * A
    head  = 2 * V * D

T tokens a sequence, A the width of the attention (heads times head size; scores and weighted sum
take 2 T A each, the causal half not subtracted), V vocabulary, D width. With K the sum of kept
layers over the coalitions, P their distinct non-empty kept prefixes and C their number:

    shared walk          P * layer + C * head
    deleting, one by one K * layer + C * head
    zeroing, one by one  C * (n * layer + head)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from torch import nn
from transformers import PreTrainedModel

from decoder import count_layer_evaluations, find_stack

__all__ = ["CountedWork"]


@dataclass(frozen=True)
class CountedWork:
    """Work of one layer and of one head, in FLOP over all tokens of one measurement."""

    layers: int
    layer: float
    head: float

    @classmethod
    def of(cls, model: PreTrainedModel, sequences: int, length: int) -> CountedWork:
        """Counts a model whose layers are alike, over `sequences` rows of `length` tokens."""
        stack = find_stack(model)
        matrices = [m.weight for m in stack.layers[0].modules() if isinstance(m, nn.Linear)]
        text = model.config
        size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        attention = 4 * length * text.num_attention_heads * size
        layer = 2 * sum(weight.numel() for weight in matrices) + attention
        head = 2 * text.vocab_size * text.hidden_size
        tokens = sequences * length
        return cls(len(stack), float(layer * tokens), float(head * tokens))

    def walk(self, coalitions: Bool[np.ndarray, "B n"]) -> float:
        """FLOP of distinct coalitions when each distinct (prefix, layer) pair is computed once."""
        return count_layer_evaluations(coalitions) * self.layer + len(coalitions) * self.head

    def deleting(self, coalitions: Bool[np.ndarray, "B n"]) -> float:
        """FLOP of one forward a coalition through its kept layers."""
        return float(coalitions.sum()) * self.layer + len(coalitions) * self.head

    def zeroing(self, coalitions: Bool[np.ndarray, "B n"]) -> float:
        """FLOP of one forward a coalition through all layers."""
        return len(coalitions) * (self.layers * self.layer + self.head)
