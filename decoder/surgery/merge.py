"""The weights of layers that others are merged into.

Source: Yang et al., "LaCo: Large Language Model Pruning via Layer Collapse", arXiv 2402.11187,
equation (1), "reserving differences while seeking common":
theta_l* = theta_l + sum over k = 1..m of (theta_{l+k} - theta_l); layers l+1 to l+m go.
As in the authors' code, norms stay the earlier layer's own. (That code subtracts the running
theta_l*, not theta_l, so that it keeps the last layer's weights alone; here is the equation.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from decoder.errors import UnsupportedModel
from decoder.model.structure import Stack, find_stack
from decoder.surgery.edit import Merge
from decoder.surgery.weights import changed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["check_alike", "merged_weights"]


@contextmanager
def merged_weights(model: PreTrainedModel, merges: Sequence[Merge]) -> Iterator[None]:
    """Within this context layers that others are merged into have their new weights.

    Those that were merged are still there, as they were. Afterwards all is bit for bit as before.

    Args:
        model: the model.
        merges: in order, as `decoder.surgery.edit.check_edits` accepts them; a layer that others
            were merged into may be merged itself later on.

    Raises:
        UnsupportedModel: the layers' weights are unlike, so that they cannot be added.
    """
    if not merges:
        yield
        return
    stack = find_stack(model)
    check_alike(model, stack)
    own = [_matrices(layer) for layer in stack.layers]
    with changed(
        (theta, partial(_sum, theta, [own[layer][place] for layer in merge.layers]))
        for merge in merges
        for place, theta in enumerate(own[merge.into])
    ):
        yield


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
    return list({id(parameter): parameter for parameter in found}.values())


def _sum(base: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Equation (1), in float32 for coarser weights."""
    wide = torch.promote_types(base.dtype, torch.float32)
    total = (1 - len(others)) * base.detach().to(wide)
    for other in others:
        total += other.detach().to(wide)
    return total.to(base.dtype)
