"""Deleting layers from a model for real, and telling its configuration wherever it counts them.

A half of a layer that no other half can make a layer with cannot be deleted from a stock model; all
its weights become zero instead, which makes its contribution zero, biases included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoder.model.branches import find_branches
from decoder.model.structure import Stack, find_stack
from decoder.model.trace import record
from decoder.players import Unit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["assemble", "assembled", "delete_layers", "reduced", "reduced_settings", "zero_halves"]

# Lists that may be as long as the model is deep and have nothing to do with its layers.
_NOT_PER_LAYER = {"architectures", "eos_token_id", "bos_token_id", "suppress_tokens"}
# What modules call their layer's place in the cache.
_INDICES = ("layer_idx", "layer_id")
# Lists of layer numbers, whatever their length.
_LAYER_NUMBERS = {"mlp_only_layers", "moe_layers", "attn_layer_indices", "rope_scaling_layers"}
# So many of the first layers have a dense MLP, the others experts.
_DENSE_FIRST = {"first_k_dense_replace", "num_dense_layers"}
# What a layer's MLP is made by; all other lists are the attention's.
_MLP_NAMES = re.compile("mlp|moe|expert|dense|ffn|feed_forward|intermediate|activation|swiglu")


def delete_layers(model: PreTrainedModel, removed: Sequence[int]) -> None:
    """Delete decoder layers in place; the result saves, reloads and decodes with a cache.

    Args:
        model: any decoder that `find_stack` understands.
        removed: indices of the layers to delete.

    Raises:
        ValueError: an index is out of range, or no layer would remain.
    """
    stack = find_stack(model)
    kept = _kept(len(stack), removed)
    settings = reduced_settings(model.config.get_text_config(decoder=True), kept)
    assemble(model, stack, [stack.layers[i] for i in kept], settings)


@torch.inference_mode()
def zero_halves(model: PreTrainedModel, halves: Sequence[Unit], tokens_BT: Tensor) -> None:
    """Set the weights of attention or MLP halves to zero, in place.

    Args:
        model: any decoder whose halves `decoder.model.branches` can tell.
        halves: which.
        tokens_BT: a few tokens to find the halves with.

    Raises:
        UnsupportedModel: the halves cannot be told.
    """
    if not halves:
        return
    trace = record(model, find_stack(model), tokens_BT, every_input=True)
    for half in halves:
        call = trace.calls[half.layer]
        branches = find_branches(call, trace.inputs[half.layer])
        for name in branches.attention if half.part == "attention" else branches.mlp:
            for parameter in call.layer.get_submodule(name).parameters():
                parameter.zero_()


@contextmanager
def reduced(model: PreTrainedModel, stack: Stack, removed: Sequence[int]) -> Iterator[None]:
    """Within this context the model is the smaller one; afterwards it is as before."""
    kept = _kept(len(stack), removed)
    settings = reduced_settings(model.config.get_text_config(decoder=True), kept)
    with assembled(model, stack, [stack.layers[i] for i in kept], settings):
        yield


def assemble(
    model: PreTrainedModel, stack: Stack, layers: Sequence[nn.Module], settings: dict[str, Any]
) -> None:
    """Give the model other layers and settings, in place.

    Args:
        model: the model.
        stack: where its layers are.
        layers: what it has instead, numbered anew; they may share modules with its own.
        settings: configuration values that go with them (see `reduced_settings`).
    """
    setattr(stack.owner, stack.attribute, nn.ModuleList(layers))
    _apply(model.config.get_text_config(decoder=True), settings)
    for index, layer in enumerate(layers):
        _number(layer, index)


@contextmanager
def assembled(
    model: PreTrainedModel, stack: Stack, layers: Sequence[nn.Module], settings: dict[str, Any]
) -> Iterator[None]:
    """As `assemble`, within this context; afterwards the model is as before."""
    own = stack.layers
    text = model.config.get_text_config(decoder=True)
    before = {name: getattr(text, name) for name in settings}
    try:
        assemble(model, stack, layers, settings)
        yield
    finally:
        assemble(model, stack, list(own), before)
        setattr(stack.owner, stack.attribute, own)


def reduced_settings(
    text: Any, attention: Sequence[int], mlp: Sequence[int] | None = None
) -> dict[str, Any]:
    """Configuration values of the model that keeps only these layers.

    Every list with one entry a layer is cut; rules that are written as a period, a count or layer
    numbers (Qwen-MoE, DeepSeek, Llama 4, GPT-Neo) are written anew.

    Args:
        text: the decoder's configuration.
        attention: the layer that each remaining layer has its attention from, in depth order.
        mlp: the same for the MLP; from the same layers when omitted.
    """
    mlp = attention if mlp is None else mlp
    depth = text.num_hidden_layers
    settings: dict[str, Any] = {"num_hidden_layers": len(attention)}
    for name, value in vars(text).items():
        kept = mlp if _MLP_NAMES.search(name) else attention
        if name in _LAYER_NUMBERS:
            if value is not None:
                settings[name] = [new for new, old in enumerate(kept) if old in set(value)]
        elif isinstance(value, list | tuple) and len(value) == depth and name not in _NOT_PER_LAYER:
            settings[name] = type(value)(value[i] for i in kept)
        elif name in _DENSE_FIRST and isinstance(value, int):
            settings[name] = sum(i < value for i in kept)
    if hasattr(text, "decoder_sparse_step") and hasattr(text, "mlp_only_layers"):
        step, dense = text.decoder_sparse_step, set(text.mlp_only_layers or ())
        settings["decoder_sparse_step"] = 1
        settings["mlp_only_layers"] = [
            new for new, old in enumerate(mlp) if old in dense or (old + 1) % step
        ]
    if hasattr(text, "moe_layer_start_index") and hasattr(text, "moe_layer_interval"):
        settings |= _expert_span(text, mlp)
    if hasattr(text, "attention_types") and hasattr(text, "attention_layers"):
        types = [text.attention_layers[i] for i in attention]
        settings |= {"attention_types": [[types, 1]], "attention_layers": types}
    return settings


def _expert_span(text: Any, mlp: Sequence[int]) -> dict[str, Any]:
    """Ernie's rule for these layers, where it can say them: experts from one layer to another."""
    first, last = text.moe_layer_start_index, text.moe_layer_end_index % text.num_hidden_layers
    experts = [
        new
        for new, old in enumerate(mlp)
        if first <= old <= last and (old + 1) % text.moe_layer_interval == 0
    ]
    if not experts or len(experts) != experts[-1] - experts[0] + 1:
        return {}
    return {
        "moe_layer_start_index": experts[0],
        "moe_layer_end_index": experts[-1],
        "moe_layer_interval": 1,
    }


def _kept(depth: int, removed: Sequence[int]) -> list[int]:
    wrong = [i for i in removed if not 0 <= i < depth]
    if wrong:
        raise ValueError(f"layer {wrong[0]}: there is none; the model has layers 0 to {depth - 1}")
    kept = [i for i in range(depth) if i not in set(removed)]
    if not kept:
        raise ValueError("removing every layer leaves no model; keep at least one")
    return kept


def _apply(text: Any, settings: dict[str, Any]) -> None:
    # Past the configuration's own checks, which compare lengths before all of them are set.
    vars(text).update(settings)
    name = getattr(type(text), "attribute_map", {}).get("num_hidden_layers", "num_hidden_layers")
    vars(text)[name] = vars(text).pop("num_hidden_layers")


def _number(layer: nn.Module, index: int) -> None:
    for module in layer.modules():
        for name in _INDICES:
            if isinstance(getattr(module, name, None), int):
                setattr(module, name, index)
