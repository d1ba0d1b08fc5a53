"""The next-token loss of a model as it stands, sequence by sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["sequence_losses"]

_LOGITS = 2**26  # at once


@torch.inference_mode()
def sequence_losses(
    model: PreTrainedModel,
    tokens_ST: Int[np.ndarray, "S T"],
    scored_ST: Bool[np.ndarray, "S T"] | None = None,
) -> Float64[np.ndarray, "S"]:
    """Measure the mean loss of each sequence over its next tokens, in nats.

    Args:
        model: within whatever contexts it is in.
        tokens_ST: of a text.
        scored_ST: which of them count, at least one a sequence; all but the first when omitted.

    Returns:
        [S]; NaN where the model's numbers overflow.
    """
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    rows = max(1, _LOGITS // (vocabulary * tokens_ST.shape[1]))
    found = []
    for first in range(0, len(tokens_ST), rows):
        ids_BT = torch.from_numpy(np.asarray(tokens_ST[first : first + rows])).long()
        ids_BT = ids_BT.to(model.device)
        logits_BTV = model(input_ids=ids_BT, use_cache=False).logits[:, :-1]
        wanted = ids_BT[:, 1:].flatten()
        losses = functional.cross_entropy(
            logits_BTV.flatten(0, 1).float(), wanted, reduction="none"
        )
        losses_BT = losses.view(len(ids_BT), -1).double().cpu().numpy()
        counted = None if scored_ST is None else scored_ST[first : first + rows, 1:]
        found.append(
            losses_BT.mean(1)
            if counted is None
            else np.where(counted, losses_BT, 0.0).sum(1) / counted.sum(1)
        )
    return np.concatenate(found)
