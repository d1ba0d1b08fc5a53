"""Giving a model other layers, and telling its configuration wherever it counts them.

A half of a layer that no other half can make a layer with cannot be deleted from a stock model; all
its weights become zero instead, which makes its contribution zero, biases included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoder.model.branches import find_branches
from decoder.model.structure import Stack, find_stack
from decoder.model.trace import record
from decoder.players import Unit
from decoder.surgery.blueprint import numbering
from decoder.surgery.probe import probe_tokens
from decoder.surgery.settings import Fit
from decoder.surgery.weights import changed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["assembled", "half_weights"]


def half_weights(model: PreTrainedModel, halves: Sequence[Unit]) -> list[nn.Parameter]:
    """Find the weights that make attention or MLP halves add nothing when they are zero.

    Args:
        model: any decoder whose halves `decoder.model.branches` can tell.
        halves: which.

    Raises:
        UnsupportedModel: the halves cannot be told.
    """
    found: list[nn.Parameter] = []
    if not halves:
        return found
    with torch.inference_mode():
        trace = record(model, find_stack(model), probe_tokens(model), every_input=True)
        for half in halves:
            call = trace.calls[half.layer]
            branches = find_branches(call, trace.inputs[half.layer])
            for name in branches.attention if half.part == "attention" else branches.mlp:
                found += call.layer.get_submodule(name).parameters()
    return found


@contextmanager
def assembled(
    model: PreTrainedModel,
    stack: Stack,
    layers: Sequence[nn.Module],
    sources: Sequence[tuple[int, int]],
    fit: Fit,
) -> Iterator[None]:
    """Within this context the model has other layers and settings; afterwards it is as before.

    Args:
        model: the model.
        stack: where its layers are.
        layers: what it has instead, numbered anew; they may share modules with its own.
        sources: the layers that each has its attention and its MLP from.
        fit: the configuration that goes with them (see `decoder.surgery.settings`).
    """
    own = stack.layers
    depth = len(own)
    text = vars(model.config.get_text_config(decoder=True))
    outside = _per_layer_lists(model, own)
    with ExitStack() as undo:
        for values, new in [
            (text, fit.settings),
            *_numbers(own, layers, sources),
            *((v, {n: [v[n][i] for i, _ in sources]}) for v, n in outside),
        ]:
            undo.callback(values.update, {name: values[name] for name in new if name in values})
            values.update(new)
        setattr(stack.owner, stack.attribute, nn.ModuleList(layers))
        undo.callback(setattr, stack.owner, stack.attribute, own)
        kept = [first for first, _ in sources]
        undo.enter_context(changed(_sliced(model, fit.slices, depth, kept)))
        yield


def _per_layer_lists(model: PreTrainedModel, layers: nn.ModuleList) -> list[tuple[Any, str]]:
    """Lists of one entry a layer that modules outside the layers keep of the configuration."""
    inside = {id(module) for layer in layers for module in layer.modules()}
    text = model.config.get_text_config(decoder=True)
    told = [
        value
        for name in dir(text)
        if "layer" in name and isinstance(value := getattr(text, name, None), list)
    ]
    return [
        (vars(module), name)
        for module in model.modules()
        if id(module) not in inside
        for name, value in vars(module).items()
        if isinstance(value, list) and len(value) == len(layers) and value in told
    ]


def _numbers(
    own: nn.ModuleList, layers: Sequence[nn.Module], sources: Sequence[tuple[int, int]]
) -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """What modules call their layer's place, anew."""
    rules = numbering(list(own))
    for new, (layer, old) in enumerate(zip(layers, sources, strict=True)):
        for path, module in layer.named_modules():
            values = vars(module)
            numbers = {
                name: rules[f"{path}.{name}"].again(value, old, new)
                for name, value in values.items()
                if f"{path}.{name}" in rules and type(value) is int
            }
            if numbers:
                yield values, numbers


def _sliced(
    model: PreTrainedModel, slices: Mapping[str, int], depth: int, kept: Sequence[int]
) -> Iterator[tuple[nn.Parameter, Callable[[], Tensor]]]:
    """Weights that hold a part for each layer, with the parts of the layers that stay."""
    for name, dimension in slices.items():
        weight = model.get_parameter(name)
        parts = weight.data.chunk(depth, dimension)
        yield weight, partial(torch.cat, [parts[i] for i in kept], dimension)
