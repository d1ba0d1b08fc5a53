"""What a norm multiplies its channels by, tried out on the norm itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Norm", "offset", "plain_norm"]


@dataclass(frozen=True)
class Norm:
    """A norm that divides by the root mean square and multiplies by a gain, and does nothing else.

    Attributes:
        weight: full name of its weight.
        offset: what it adds to its weight to get the gain (1 in Gemma, 0 elsewhere).
    """

    weight: str
    offset: float


def offset(norm: Any) -> float:
    """What a norm adds to its weight.

    Args:
        norm: a norm with a weight [D].
    """
    weight = norm.weight
    with torch.inference_mode():
        own = norm(_probe(weight)).float()
        kept, weight.data = weight.data, torch.zeros_like(weight.data)
        try:
            without = norm(_probe(weight)).float()
        finally:
            weight.data = kept
    bias = getattr(norm, "bias", None)
    if bias is not None:
        own, without = own - bias.float(), without - bias.float()
    # An offset of 1 shows as answers of the size of the input's.
    return 1.0 if float(without.abs().max()) > 1e-6 * max(float(own.abs().max()), 1e-3) else 0.0


def plain_norm(norm: nn.Module, name: str) -> Norm | None:
    """Tell whether a norm is a plain RMS norm.

    Args:
        norm: with a weight [D].
        name: full name of the weight.

    Returns:
        None where it is another: one that takes the mean off, or has a bias.
    """
    weight: Any = norm.weight
    added = offset(norm)
    with torch.inference_mode():
        given = _probe(weight)
        found = norm(given).float()
    wide = given.float()
    wanted = wide / wide.square().mean(-1, keepdim=True).sqrt() * (weight.float() + added)
    near = (found - wanted).norm() <= 1e-2 * wanted.norm()
    return Norm(name, added) if bool(near) and getattr(norm, "bias", None) is None else None


def _probe(weight: Tensor) -> Tensor:
    steps = torch.linspace(-1, 3, len(weight), device=weight.device)
    return steps.to(weight.dtype)[None]
