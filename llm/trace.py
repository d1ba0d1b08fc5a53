"""One real forward of the dense model, recorded: layer calls, and the way from hidden to logits.

Rotary embeddings, masks and positions are made once in a model's forward and handed to its
layers; recording them from a real forward serves every family without knowing any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from llm.errors import UnsupportedModel
from llm.structure import Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LayerCall", "Trace", "hidden_of", "injected", "record"]


@dataclass(frozen=True)
class LayerCall:
    """What one layer is called with beside the hidden states."""

    layer: nn.Module
    position: int | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, hidden_BTD: Tensor) -> Tensor:
        """The layer's output for these hidden states."""
        if self.position is None:
            return hidden_of(self.layer(*self.args, **{**self.kwargs, "hidden_states": hidden_BTD}))
        args = list(self.args)
        args[self.position] = hidden_BTD
        return hidden_of(self.layer(*args, **self.kwargs))


@dataclass(frozen=True)
class Trace:
    """A recorded dense forward over one batch of sequences.

    Attributes:
        tokens_BT: token ids.
        calls: one recorded call a layer, in depth order.
        inputs: hidden states [B, T, D] that enter each layer, then those that leave the last one;
            only the first and the last unless all were asked for.
        logits_BTV: the model's own logits.
        tail: modules that ran after the last layer, in order, with their input and output.
        returns_tuple: whether layers return a tuple that starts with the hidden states.
    """

    tokens_BT: Tensor
    calls: tuple[LayerCall, ...]
    inputs: tuple[Tensor, ...]
    logits_BTV: Tensor
    tail: tuple[tuple[nn.Module, Tensor, Tensor], ...]
    returns_tuple: bool


def hidden_of(output: Any) -> Tensor:
    """Hidden states of a decoder layer's output: a tensor, or a tuple that starts with it."""
    return output if isinstance(output, Tensor) else output[0]


def record(
    model: PreTrainedModel, stack: Stack, tokens_BT: Tensor, *, every_input: bool = False
) -> Trace:
    """Run the dense model once on `tokens_BT` and record it.

    Raises:
        UnsupportedModel: the layers are not called once each, in order.
    """
    calls: list[LayerCall] = []
    inputs: list[Tensor] = []
    outputs: list[Any] = []
    tail: list[tuple[nn.Module, Tensor, Tensor]] = []
    layers = list(stack.layers)

    def before(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        position = next(
            (i for i, a in enumerate(args) if isinstance(a, Tensor) and a.ndim == 3), None
        )
        hidden = kwargs.get("hidden_states") if position is None else args[position]
        if not isinstance(hidden, Tensor):
            raise UnsupportedModel(f"{stack.path}: a layer is called without hidden states")
        cleaned = list(args)
        if position is not None:
            cleaned[position] = None
        rest = {k: v for k, v in kwargs.items() if k != "hidden_states"}
        calls.append(LayerCall(layer, position, tuple(cleaned), rest))
        if every_input or not inputs:
            inputs.append(hidden)

    def after(layer: nn.Module, args: Any, output: Any) -> None:
        outputs[:] = [output]

    def after_any(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if len(calls) == len(layers) and outputs and args and isinstance(output, Tensor):
            tail.append((module, args[0], output))

    inside = {id(m) for layer in layers for m in layer.modules()}
    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(after) for layer in layers]
    hooks += [
        module.register_forward_hook(after_any)
        for module in model.modules()
        if id(module) not in inside and not isinstance(module, nn.ModuleList)
    ]
    try:
        logits = model(input_ids=tokens_BT, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    if [call.layer for call in calls] != layers:
        raise UnsupportedModel(
            f"model type {model.config.model_type}: its {len(layers)} layers are not called once "
            f"each in order ({len(calls)} calls seen)"
        )
    last = outputs[0]
    return Trace(
        tokens_BT=tokens_BT,
        calls=tuple(calls),
        inputs=(*inputs, hidden_of(last)),
        logits_BTV=logits,
        tail=tuple(tail),
        returns_tuple=not isinstance(last, Tensor),
    )


class _Injector(nn.Module):
    """Stands for the whole stack and returns given hidden states whatever it is called with."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.hidden: Tensor | None = None
        # The model's loop may read plain attributes of a layer (its attention type, say).
        for name, value in vars(layer).items():
            if not name.startswith("_") and name not in vars(self):
                setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.hidden


@contextmanager
def injected(
    model: PreTrainedModel, stack: Stack, returns_tuple: bool
) -> Iterator[Callable[[Tensor, Tensor], Tensor]]:
    """Lend `logits(tokens_BT, hidden_BTD)`: the model's own forward from given final hidden states.

    The layers are replaced by a stub within this context, so it is right for every head, however
    the model computes it.
    """
    layers = stack.layers
    stub = _Injector(layers[0])

    def logits(tokens_BT: Tensor, hidden_BTD: Tensor) -> Tensor:
        stub.hidden = (hidden_BTD,) if returns_tuple else hidden_BTD  # type: ignore[assignment]
        return model(input_ids=tokens_BT, use_cache=False).logits

    depth = _set_depth(model, 1)
    setattr(stack.owner, stack.attribute, nn.ModuleList([stub]))
    try:
        yield logits
    finally:
        setattr(stack.owner, stack.attribute, layers)
        _set_depth(model, depth)


def _set_depth(model: PreTrainedModel, depth: int) -> int:
    text = model.config.get_text_config(decoder=True)
    before, text.num_hidden_layers = text.num_hidden_layers, depth
    return before
