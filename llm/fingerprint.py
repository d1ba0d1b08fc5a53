"""Content fingerprints: what a measurement was made of, so that unlike ones are never mixed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int

from llm.evaluator import EVALUATOR_VERSION

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["combine", "model_fingerprint", "text_fingerprint"]


def model_fingerprint(model: PreTrainedModel) -> str:
    """Hex digest of every weight (name, shape, type, bytes) and of the configuration's numbers."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        flat = tensor.detach().contiguous().cpu().view(-1)
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    hidden = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}
    config = {k: v for k, v in model.config.to_dict().items() if k not in hidden}
    digest.update(repr(sorted(config.items(), key=lambda item: item[0])).encode())
    return digest.hexdigest()


def text_fingerprint(tokens: Int[np.ndarray, "S T"]) -> str:
    """Hex digest of the token ids and their shape."""
    digest = hashlib.blake2b(f"{tokens.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(tokens, dtype="<i8").data)
    return digest.hexdigest()


def combine(model: str, text: str, players: Sequence[str], dtype: str, device: str) -> str:
    """One fingerprint of everything that a measured number depends on."""
    parts = (model, text, *players, dtype, device, f"evaluator {EVALUATOR_VERSION}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
