"""Giving a model other layers, and telling its configuration wherever it counts them.

A half of a layer that no other half can make a layer with cannot be deleted from a stock model; all
its weights become zero instead, which makes its contribution zero, biases included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from decoder.model.branches import find_branches
from decoder.model.structure import Stack, find_stack
from decoder.model.trace import record
from decoder.players import Unit
from decoder.surgery.probe import probe_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["assembled", "half_weights", "reduced_settings"]

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
    model: PreTrainedModel, stack: Stack, layers: Sequence[nn.Module], settings: dict[str, Any]
) -> Iterator[None]:
    """Within this context the model has other layers and settings; afterwards it is as before.

    Args:
        model: the model.
        stack: where its layers are.
        layers: what it has instead, numbered anew; they may share modules with its own.
        settings: configuration values that go with them (see `reduced_settings`).
    """
    own = stack.layers
    text = model.config.get_text_config(decoder=True)
    before = {name: getattr(text, name) for name in settings}
    try:
        _assemble(model, stack, layers, settings)
        yield
    finally:
        _assemble(model, stack, list(own), before)
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


def _assemble(
    model: PreTrainedModel, stack: Stack, layers: Sequence[nn.Module], settings: dict[str, Any]
) -> None:
    setattr(stack.owner, stack.attribute, nn.ModuleList(layers))
    _apply(model.config.get_text_config(decoder=True), settings)
    for index, layer in enumerate(layers):
        _number(layer, index)


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
