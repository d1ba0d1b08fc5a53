"""Content fingerprints: what a measurement was made of, so that unlike ones are never mixed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from decoder.evaluate.evaluator import EVALUATOR_VERSION

__all__ = ["combine"]


def combine(model: str, workload: str, players: Sequence[str], dtype: str, device: str) -> str:
    """One fingerprint of everything that a measured number depends on.

    Args:
        model: `decoder.checkpoint.inspect.checkpoint_fingerprint`.
        workload: the fingerprint of the texts or tasks that are measured on.
        players: their names in depth order, and whatever else tells one roster from another.
        dtype: the type the model is used in.
        device: the type of the device.
    """
    parts = (model, workload, *players, dtype, device, f"evaluator {EVALUATOR_VERSION}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
