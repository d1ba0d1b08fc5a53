"""How a model calls its decoder layers, recorded, so that layers can be called without the model.

Rotary embeddings, masks and positions are made once in a model's forward and handed to its
layers; recording them serves every family without knowing any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from decoder.errors import UnsupportedModel
from decoder.model.structure import Stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "LayerCall",
    "StandsFor",
    "Trace",
    "hidden_of",
    "record",
    "record_calls",
    "replaced",
]


@dataclass(frozen=True)
class LayerCall:
    """What one layer is called with beside the hidden states."""

    layer: nn.Module
    position: int | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def output(self, hidden_BTD: Tensor) -> Any:
        """All that the layer returns for these hidden states."""
        if self.position is None:
            return self.layer(*self.args, **{**self.kwargs, "hidden_states": hidden_BTD})
        args = list(self.args)
        args[self.position] = hidden_BTD
        return self.layer(*args, **self.kwargs)

    def __call__(self, hidden_BTD: Tensor) -> Tensor:
        """The layer's output for these hidden states."""
        return hidden_of(self.output(hidden_BTD))


@dataclass(frozen=True)
class Trace:
    """A recorded dense forward over one batch of sequences.

    Attributes:
        calls: one recorded call a layer, in depth order.
        inputs: hidden states [B, T, D] that enter each layer, then those that leave the last one;
            only the first and the last unless all were asked for.
        logits_BTV: the model's own logits.
        returns: length of the tuple that layers return; 0 where they return a tensor.
    """

    calls: tuple[LayerCall, ...]
    inputs: tuple[Tensor, ...]
    logits_BTV: Tensor
    returns: int


def hidden_of(output: Any) -> Tensor:
    """Hidden states of a decoder layer's output: a tensor, or a tuple that starts with it."""
    return output if isinstance(output, Tensor) else output[0]


def record(
    model: PreTrainedModel, stack: Stack, tokens_BT: Tensor, *, every_input: bool = False
) -> Trace:
    """Runs the dense model once on `tokens_BT` and records it.

    Args:
        model: the dense one.
        stack: its layers.
        tokens_BT: of a text.
        every_input: keep the input of each layer, and not only of the first.

    Raises:
        UnsupportedModel: the layers are not called once each in order, or hand each other more
            than hidden states.
    """
    calls: list[LayerCall] = []
    inputs: list[Tensor] = []
    handed: list[Any] = []
    outputs: list[Any] = []
    layers = list(stack.layers)

    def before(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call, hidden = _split(stack, layer, args, kwargs)
        given = {id(value) for value in (*call.args, *call.kwargs.values())}
        if any(id(value) in given for value in handed):
            raise UnsupportedModel(
                f"model type {model.config.model_type}: its layers hand each other more than "
                "hidden states; leaving one out cannot be measured"
            )
        calls.append(call)
        if every_input or not inputs:
            inputs.append(hidden)

    def after(layer: nn.Module, args: Any, output: Any) -> None:
        outputs[:] = [output]
        if not isinstance(output, Tensor):
            handed.extend(value for value in output[1:] if isinstance(value, Tensor))

    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    hooks += [layer.register_forward_hook(after) for layer in layers]
    try:
        logits = model(input_ids=tokens_BT, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    _check_order(model, [call.layer for call in calls], layers)
    last = outputs[0]
    returns = 0 if isinstance(last, Tensor) else len(last)
    return Trace(tuple(calls), (*inputs, hidden_of(last)), logits, returns)


class _Reached(Exception):
    """Ends a forward before the head."""


class StandsFor(nn.Module):
    """A module in the place of another, which answers for all else that is asked of it.

    A model's loop may read more off a layer than its output (its attention type, a part of it, a
    method), and finds it here.

    Args:
        module: the one that it stands for; it is not a part of this one.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._real = (module,)  # in a tuple, so that its weights are not this module's

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_real" not in vars(self):
                raise
            return getattr(self._real[0], name)


class _Recorder(StandsFor):
    """Stands for one layer: notes how it is called and hands the hidden states on as they are."""

    def __init__(self, layer: nn.Module, note: Any) -> None:
        super().__init__(layer)
        self._note = note

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._note(args, kwargs)


def record_calls(
    model: PreTrainedModel,
    stack: Stack,
    tokens_BT: Tensor,
    returns: int,
    *,
    first_only: bool = False,
) -> tuple[Tensor, tuple[LayerCall, ...]]:
    """How each layer would be called for `tokens_BT`, without running any: neither layers nor head.

    It costs the embedding and the masks alone and needs no weight of a layer, so that it can be
    done for every batch size at which layers are called.

    Args:
        model: the model; its layers may be empty shells.
        stack: its layers.
        tokens_BT: token ids.
        returns: length of the tuple that layers return; 0 for a tensor (see `Trace`).
        first_only: stop at the first layer, when `returns` is not known yet.

    Returns:
        The hidden states [B, T, D] that enter the first layer, and one call a layer.
    """
    layers = list(stack.layers)
    calls: list[LayerCall] = []
    first: list[Tensor] = []

    def stand_in(layer: nn.Module) -> _Recorder:
        def note(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            call, hidden = _split(stack, layer, args, kwargs)
            calls.append(call)
            first.append(hidden)
            if first_only or len(calls) == len(layers):
                raise _Reached
            return (hidden, *[None] * (returns - 1)) if returns else hidden

        return _Recorder(layer, note)

    with replaced(stack, [stand_in(layer) for layer in layers]), suppress(_Reached):
        model(input_ids=tokens_BT, use_cache=False)
    _check_order(model, [call.layer for call in calls], layers[: 1 if first_only else None])
    return first[0], tuple(calls)


@contextmanager
def replaced(stack: Stack, modules: Sequence[nn.Module]) -> Iterator[None]:
    """Within this context the model has these modules in the place of its layers."""
    layers = stack.layers
    setattr(stack.owner, stack.attribute, nn.ModuleList(modules))
    try:
        yield
    finally:
        setattr(stack.owner, stack.attribute, layers)


def _split(
    stack: Stack, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[LayerCall, Tensor]:
    position = next((i for i, a in enumerate(args) if isinstance(a, Tensor) and a.ndim == 3), None)
    if position is None and args and _streams(args[0]):
        position = 0
    hidden = kwargs.get("hidden_states") if position is None else args[position]
    if not isinstance(hidden, Tensor):
        raise UnsupportedModel(f"{stack.path}: a layer is called without hidden states")
    cleaned = list(args)
    if position is not None:
        cleaned[position] = None
    rest = {name: value for name, value in kwargs.items() if name != "hidden_states"}
    return LayerCall(layer, position, tuple(cleaned), rest), hidden


def _streams(value: Any) -> bool:
    """Whether a value is hidden states of several streams, [B, T, streams, D]."""
    return isinstance(value, Tensor) and value.ndim == 4 and value.is_floating_point()


def _check_order(
    model: PreTrainedModel, called: Sequence[nn.Module], layers: Sequence[nn.Module]
) -> None:
    if list(called) != list(layers):
        raise UnsupportedModel(
            f"model type {model.config.model_type}: its {len(layers)} layers are not called once "
            f"each in order ({len(called)} calls seen)"
        )
