"""The two plain ways to measure a coalition: one whole forward each, with the model's own loss."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from numpy import ndarray
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from decoder import find_stack
from decoder.surgery.apply import applied
from decoder.surgery.edit import Remove

__all__ = ["deleting_nll", "random_llama", "zeroing_nll"]


def random_llama(
    *,
    width: int,
    mlp_width: int,
    layers: int,
    heads: int,
    vocabulary: int,
    context: int,
    key_value_heads: int | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> LlamaForCausalLM:
    """A Llama in evaluation mode with random weights, large enough that every layer matters."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=mlp_width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads or heads,
        vocab_size=vocabulary,
        max_position_embeddings=context,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.device(device):
        model = LlamaForCausalLM._from_config(config, dtype=dtype)
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def zeroing_nll(model: PreTrainedModel, tokens_BT: Tensor, coalition: Bool[ndarray, "n"]) -> float:
    """NLL per token with the removed layers' weights cloned, set to zero and put back.

    A layer whose weights are all zero adds nothing to the residual stream, so this is what its
    removal costs, at the price of a forward through every layer.
    """
    layers = find_stack(model).layers
    removed = [layer for layer, keep in zip(layers, coalition, strict=True) if not keep]
    saved = [[parameter.clone() for parameter in layer.parameters()] for layer in removed]
    for layer in removed:
        for parameter in layer.parameters():
            parameter.zero_()
    loss = _loss(model, tokens_BT)
    for layer, weights in zip(removed, saved, strict=True):
        for parameter, weight in zip(layer.parameters(), weights, strict=True):
            parameter.copy_(weight)
    return loss


@torch.inference_mode()
def deleting_nll(model: PreTrainedModel, tokens_BT: Tensor, coalition: Bool[ndarray, "n"]) -> float:
    """NLL per token of a plain forward with the removed layers taken out of the model.

    The empty coalition, which has no layers to keep, is not for this loop.
    """
    removed = [Remove(index) for index, keep in enumerate(coalition) if not keep]
    with applied(model, removed):
        return _loss(model, tokens_BT)


def _loss(model: PreTrainedModel, tokens_BT: Tensor) -> float:
    return model(input_ids=tokens_BT, labels=tokens_BT, use_cache=False).loss.item()
