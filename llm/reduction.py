"""Deleting layers from a model for real, and telling its configuration wherever it counts them.

A half of a layer cannot be deleted from a stock model; all its weights become zero instead, which
makes its contribution zero, biases included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from llm.branches import find_branches
from llm.players import Unit
from llm.structure import Stack, find_stack
from llm.trace import record

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["delete_layers", "reduced", "reduced_settings", "zero_halves"]

# Lists that may be as long as the model is deep and have nothing to do with its layers.
_NOT_PER_LAYER = {"architectures", "eos_token_id", "bos_token_id", "suppress_tokens"}


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
    text = model.config.get_text_config(decoder=True)
    settings = reduced_settings(text, kept)
    layers = nn.ModuleList(stack.layers[i] for i in kept)
    setattr(stack.owner, stack.attribute, layers)
    _apply(text, settings)
    for index, layer in enumerate(layers):
        _number(layer, index)


@torch.inference_mode()
def zero_halves(model: PreTrainedModel, halves: Sequence[Unit], tokens_BT: Tensor) -> None:
    """Set the weights of attention or MLP halves to zero, in place.

    Args:
        model: any decoder whose halves `llm.branches` can tell.
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
    layers = stack.layers
    text = model.config.get_text_config(decoder=True)
    before = {name: getattr(text, name) for name in reduced_settings(text, range(len(layers)))}
    try:
        delete_layers(model, removed)
        yield
    finally:
        setattr(stack.owner, stack.attribute, layers)
        _apply(text, before)
        for index, layer in enumerate(layers):
            _number(layer, index)


def reduced_settings(text: Any, kept: Sequence[int]) -> dict[str, Any]:
    """Configuration values of the model that keeps only these layers.

    Every list with one entry a layer is cut; rules that are written as a period or as layer
    numbers (Qwen-MoE, DeepSeek, GPT-Neo) are written anew.
    """
    depth = text.num_hidden_layers
    settings: dict[str, Any] = {"num_hidden_layers": len(kept)}
    for name, value in vars(text).items():
        if isinstance(value, list | tuple) and len(value) == depth and name not in _NOT_PER_LAYER:
            settings[name] = type(value)(value[i] for i in kept)
    if hasattr(text, "decoder_sparse_step") and hasattr(text, "mlp_only_layers"):
        step, dense = text.decoder_sparse_step, set(text.mlp_only_layers or ())
        settings["decoder_sparse_step"] = 1
        settings["mlp_only_layers"] = [
            new for new, old in enumerate(kept) if old in dense or (old + 1) % step
        ]
    if isinstance(getattr(text, "first_k_dense_replace", None), int):
        settings["first_k_dense_replace"] = sum(i < text.first_k_dense_replace for i in kept)
    if hasattr(text, "attention_types") and hasattr(text, "attention_layers"):
        types = [text.attention_layers[i] for i in kept]
        settings |= {"attention_types": [[types, 1]], "attention_layers": types}
    return settings


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
        if isinstance(getattr(module, "layer_idx", None), int):
            module.layer_idx = index  # type: ignore[assignment]
