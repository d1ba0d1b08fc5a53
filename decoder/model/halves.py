"""To which half of a decoder layer each of its children belongs, norms included.

It is seen from what the layer computes, not from names: with the MLP silent, what still changes its
output is the attention's side; with the attention silent, what still does is the MLP's. A child may
be on both sides, as the one norm of a parallel block is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from decoder.model.branches import find_branches, silenced
from decoder.model.trace import LayerCall

__all__ = ["HalfOwnership", "find_half_ownership"]


@dataclass(frozen=True)
class HalfOwnership:
    """The children and own parameters of one layer, by the half that uses them.

    Attributes:
        attention: names of those that only the attention half uses.
        mlp: names of those that only the MLP half uses.
        shared: names of those that both use.
        apart: the layer is its attention half, then its MLP half, each of which adds to the hidden
            states it is given and can stand without the other. Not so where both read the layer's
            input, or where norms lie on the residual path.
    """

    attention: frozenset[str]
    mlp: frozenset[str]
    shared: frozenset[str]
    apart: bool


@torch.inference_mode()
def find_half_ownership(call: LayerCall, hidden_BTD: Tensor) -> HalfOwnership:
    """Sort what a layer is made of by its halves.

    Args:
        call: how the model calls the layer.
        hidden_BTD: hidden states that enter it, in a batch that fits the call.

    Raises:
        UnsupportedModel: the halves cannot be told.
    """
    branches = find_branches(call, hidden_BTD)
    parts = {*branches.attention, *branches.mlp}
    others = {name: own for name, own in _named(call.layer).items() if name not in parts}
    with silenced(call.layer, branches, branches.mlp):
        attention = {n for n, own in others.items() if _matters(call, hidden_BTD, own)}
    with silenced(call.layer, branches, branches.attention):
        mlp = {n for n, own in others.items() if _matters(call, hidden_BTD, own)}
    return HalfOwnership(
        frozenset({*branches.attention, *(attention - mlp)}),
        frozenset({*branches.mlp, *(mlp - attention)}),
        frozenset(attention & mlp),
        not branches.joined,
    )


def _named(layer: nn.Module) -> dict[str, list[nn.Parameter]]:
    """What the layer is made of: parameters of each child, and its own."""
    found = {name: list(child.parameters()) for name, child in layer.named_children()}
    found |= {name: [own] for name, own in layer.named_parameters(recurse=False)}
    return {name: parameters for name, parameters in found.items() if parameters}


def _matters(call: LayerCall, hidden_BTD: Tensor, parameters: list[nn.Parameter]) -> bool:
    """Whether the layer's output changes with these parameters, by more than it does anyway."""
    before = call(hidden_BTD)
    anyway = (call(hidden_BTD) - before).abs().max()
    with _stirred(parameters):
        return bool((call(hidden_BTD) - before).abs().max() > 2 * anyway)


@contextmanager
def _stirred(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Within this context the parameters have noise on them."""
    chance = torch.Generator().manual_seed(0)
    own = [parameter.clone() for parameter in parameters]
    try:
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=chance)
            parameter.add_(noise.to(parameter))
        yield
    finally:
        for parameter, value in zip(parameters, own, strict=True):
            parameter.copy_(value)
