"""Layers merged into earlier ones, for as long as a context lasts.

Source: Yang et al., "LaCo: Large Language Model Pruning via Layer Collapse", arXiv 2402.11187,
equation (1), "reserving differences while seeking common":
theta_l* = theta_l + sum over k = 1..m of (theta_{l+k} - theta_l); layers l+1 to l+m go.
As in the authors' code, norms stay the earlier layer's own. (That code subtracts the running
theta_l*, not theta_l, so that it keeps the last layer's weights alone; here is the equation.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from decoder.errors import UnsupportedModel
from decoder.model.structure import Stack, find_stack
from decoder.surgery.delete import reduced

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Merge", "check_alike", "merged"]

Weights = tuple[Tensor, ...]


@dataclass(frozen=True)
class Merge:
    """One merge, in the original model's layer numbers.

    Attributes:
        into: the layer that takes the others' weights and stays.
        layers: those that are merged into it and go, all of them deeper.
    """

    into: int
    layers: tuple[int, ...]


@contextmanager
def merged(model: PreTrainedModel, merges: Sequence[Merge]) -> Iterator[None]:
    """Within this context the model is the merged one; afterwards it is bit for bit as before.

    Args:
        model: the model. Its configuration and layer numbers are the shorter model's meanwhile.
        merges: in order; a layer that others were merged into may be merged itself later on.

    Raises:
        ValueError: a layer does not exist, is gone already, or is not deeper than its target.
        UnsupportedModel: the layers' weights are unlike, so that they cannot be added.
    """
    stack = find_stack(model)
    check_alike(model, stack)
    _check(merges, len(stack))
    own = [_matrices(layer) for layer in stack.layers]
    before = [tuple(parameter.data for parameter in layer) for layer in own]
    try:
        with torch.inference_mode(False), torch.no_grad():
            for merge in merges:
                base = own[merge.into]
                fresh = _sum(base, [own[layer] for layer in merge.layers])
                for parameter, weight in zip(base, fresh, strict=True):
                    parameter.data = weight
        removed = [layer for merge in merges for layer in merge.layers]
        with reduced(model, stack, removed):
            yield
    finally:
        for layer, weights in zip(own, before, strict=True):
            for parameter, weight in zip(layer, weights, strict=True):
                parameter.data = weight


def check_alike(model: PreTrainedModel, stack: Stack) -> None:
    """Every layer's weights have the same names and shapes, so that they can be added.

    Raises:
        UnsupportedModel: they have not, or they are quantised.
    """
    first = _shapes(stack.layers[0])
    for index, layer in enumerate(stack.layers):
        shapes = _shapes(layer)
        unlike = sorted(set(shapes.items()) ^ set(first.items()), key=str)
        if unlike:
            raise UnsupportedModel(
                f"model type {model.config.model_type}: layers 0 and {index} have unlike weights "
                f"({unlike[0][0]}); LaCo adds layers' weights to each other, use another method"
            )
        coarse = [name for name, p in layer.named_parameters() if not p.is_floating_point()]
        if coarse:
            raise UnsupportedModel(
                f"model type {model.config.model_type}: {coarse[0]} is quantised; LaCo adds "
                "layers' weights to each other, load the model unquantised"
            )


def _shapes(layer: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}


def _matrices(layer: nn.Module) -> list[nn.Parameter]:
    """Parameters of the modules that hold a matrix, biases included; norms are left out."""
    found = []
    for module in layer.modules():
        own = list(module.parameters(recurse=False))
        if any(parameter.ndim >= 2 for parameter in own):
            found += own
    return found


def _sum(base: Sequence[Tensor], others: Sequence[Sequence[Tensor]]) -> Weights:
    """Equation (1), in float32 for coarser weights."""
    result = []
    for index, theta in enumerate(base):
        wide = torch.promote_types(theta.dtype, torch.float32)
        total = (1 - len(others)) * theta.detach().to(wide)
        for other in others:
            total += other[index].detach().to(wide)
        result.append(total.to(theta.dtype))
    return tuple(result)


def _check(merges: Sequence[Merge], depth: int) -> None:
    there = set(range(depth))
    for merge in merges:
        for layer in (merge.into, *merge.layers):
            if layer not in there:
                raise ValueError(
                    f"merges: layer {layer} is not there or is merged already; name each of "
                    f"layers 0 to {depth - 1} at most once as merged"
                )
        there -= set(merge.layers)
        if not merge.layers or len(set(merge.layers)) < len(merge.layers):
            raise ValueError(f"merges: layer {merge.into} needs distinct layers to take; name them")
        if min(merge.layers) <= merge.into:
            raise ValueError(
                f"merges: layer {min(merge.layers)} is not deeper than {merge.into}; merge deeper "
                "layers into an earlier one"
            )
