"""A few tokens on which a model shows what its layers are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from decoder.model.structure import context_length
from sampling import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["probe_tokens"]


def probe_tokens(model: PreTrainedModel, sequences: int = 1, length: int = 16) -> Tensor:
    """Draw token ids, the same ones every time, so that surgery needs no text.

    Padding is not among them: some models count positions without it.

    Args:
        model: whose vocabulary they are of.
        sequences: how many sequences.
        length: tokens of each; fewer where the model's context is shorter.

    Returns:
        [sequences, length], on the model's device.
    """
    text = model.config.get_text_config(decoder=True)
    context = context_length(text) or length
    shape = (sequences, min(length, context))
    ids = stream(0, "tokens for surgery").integers(0, text.vocab_size, shape)
    pad = getattr(text, "pad_token_id", None)
    ids[ids == pad] = (pad or 0) + 1 if (pad or 0) + 1 < text.vocab_size else 0
    return torch.from_numpy(ids).to(model.device)
