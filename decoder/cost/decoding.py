"""One prompt read and a few tokens decoded with a cache, as people use a model."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["cut_prompt", "decode", "prefill"]


def cut_prompt(
    model: PreTrainedModel, tokens: Int[np.ndarray, "S T"], new_tokens: int
) -> Int[Tensor, "1 t"]:
    """Returns the first sequence on the model's device, cut so that the new tokens fit the context.

    Args:
        model: to be timed.
        tokens: of a text, one sequence a row.
        new_tokens: that are to follow the prompt.

    Raises:
        ValueError: there are no tokens, or the new ones leave no room for a prompt.
    """
    context = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    if 0 in tokens.shape:
        raise ValueError("tokens: none to time the model with; give at least one sequence")
    if new_tokens < 1:
        raise ValueError(f"new_tokens: must be at least 1, got {new_tokens}")
    room = tokens.shape[1] if context is None else min(tokens.shape[1], context - new_tokens)
    if room < 1:
        raise ValueError(
            f"new_tokens: {new_tokens} leave no room for a prompt in the model's context of "
            f"{context}; decode fewer"
        )
    return torch.from_numpy(tokens[:1, :room]).to(model.device)


@torch.inference_mode()
def prefill(model: PreTrainedModel, prompt_1T: Tensor) -> Any:
    """The model's output for the prompt, its cache included.

    Only the last position's logits are asked for where the model can leave the others out, as
    `generate` and serving engines do.
    """
    last = {"logits_to_keep": 1} if _can_keep_last(model) else {}
    return model(input_ids=prompt_1T, use_cache=True, **last)


@torch.inference_mode()
def decode(model: PreTrainedModel, out: Any, new_tokens: int) -> Any:
    """Returns the output after `new_tokens` more passes of the likeliest token each.

    Args:
        model: that gave the output.
        out: its output for a prompt, with a cache.
        new_tokens: passes to make.
    """
    for _ in range(new_tokens):
        token_11 = out.logits[:, -1:].argmax(-1)
        out = model(input_ids=token_11, past_key_values=out.past_key_values, use_cache=True)
    return out


def _can_keep_last(model: PreTrainedModel) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters
