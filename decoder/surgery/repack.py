"""Making stock layers of halves of different layers, where a model lets them be one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoder.errors import UnsupportedModel
from decoder.model.halves import HalfOwnership, find_half_ownership
from decoder.model.structure import Stack, find_stack
from decoder.model.trace import record
from decoder.surgery.blocks import Block
from decoder.surgery.probe import probe_tokens
from decoder.surgery.settings import Fit, fit_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["check_fits", "find_owners", "fits", "packed_layers", "unfit"]

Owners = Mapping[int, HalfOwnership]


def find_owners(model: PreTrainedModel, layers: Iterable[int]) -> dict[int, HalfOwnership]:
    """Tell what belongs to which half of some layers.

    Args:
        model: any decoder whose halves `decoder.model.branches` can tell.
        layers: which layers.

    Raises:
        UnsupportedModel: the halves cannot be told.
    """
    wanted = sorted(set(layers))
    if not wanted:
        return {}
    with torch.inference_mode():
        trace = record(model, find_stack(model), probe_tokens(model), every_input=True)
    return {i: find_half_ownership(trace.calls[i], trace.inputs[i]) for i in wanted}


def fits(stack: Stack, owners: Owners, attention: int, mlp: int) -> bool:
    """Tell whether the attention of one layer and the MLP of another can be one layer.

    Args:
        stack: the model's layers.
        owners: what `find_owners` says of both.
        attention: the layer that gives its attention half.
        mlp: the layer that gives its MLP half.
    """
    one, other = owners[attention], owners[mlp]
    if not (one.apart and other.apart) or one.shared != other.shared:
        return False
    first, second = stack.layers[attention], stack.layers[mlp]
    return type(first) is type(second) and all(
        _equal(getattr(first, name), getattr(second, name)) for name in one.shared
    )


def unfit(owners: Owners) -> str:
    """Say why halves of different layers cannot share one, where `fits` says that some cannot."""
    if not all(owner.apart for owner in owners.values()):
        return (
            "attention and MLP of this model read the same input or share a norm on the residual "
            "path, so that halves of different layers cannot share one"
        )
    return "some layers are built differently, so that their halves cannot share one"


def check_fits(stack: Stack, owners: Owners, blocks: Sequence[Block]) -> None:
    """Refuse blocks whose halves cannot share a layer.

    Args:
        stack: the model's layers.
        owners: what `find_owners` says of all layers that mixed blocks are made of.
        blocks: the layers of the smaller model.

    Raises:
        UnsupportedModel: there are such blocks.
    """
    for block in blocks:
        first, second = block.attention_layer, block.mlp_layer
        if block.mixed and not fits(stack, owners, first, second):
            both = {first: owners[first], second: owners[second]}
            raise UnsupportedModel(
                f"repack of L{first}.attn with L{second}.mlp: {unfit(both)}; make the halves zero "
                "instead"
            )


def packed_layers(
    model: PreTrainedModel, stack: Stack, blocks: Sequence[Block], owners: Owners
) -> tuple[list[nn.Module], Fit]:
    """Make the layers of a smaller model, and find the configuration that goes with them.

    Halves that are to be zero keep their weights. Layers share their modules with the original.

    Args:
        model: the original.
        stack: its layers.
        blocks: the layers of the smaller model.
        owners: what `find_owners` says of all layers that mixed blocks are made of.
    """
    layers = [
        _mixed(stack, owners, block) if block.mixed else stack.layers[block.attention_layer]
        for block in blocks
    ]
    fit = fit_settings(
        model,
        layers,
        [block.attention_layer for block in blocks],
        [block.mlp_layer for block in blocks],
    )
    return layers, fit


def _mixed(stack: Stack, owners: Owners, block: Block) -> nn.Module:
    """A copy of the attention's layer with the MLP side of the other, sharing their modules."""
    first, second = stack.layers[block.attention_layer], stack.layers[block.mlp_layer]
    layer: Any = copy(first)
    layer._modules, layer._parameters = dict(first._modules), dict(first._parameters)
    for name in owners[block.attention_layer].mlp:
        (layer._modules if name in layer._modules else layer._parameters).pop(name)
    for name in owners[block.mlp_layer].mlp:
        if name in second._modules:
            layer._modules[name] = second._modules[name]
        else:
            layer._parameters[name] = second._parameters[name]
    return layer


def _equal(one: nn.Module | Tensor, other: nn.Module | Tensor) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        first, second = one.state_dict(), other.state_dict()
        return first.keys() == second.keys() and all(_equal(first[n], second[n]) for n in first)
    return False
