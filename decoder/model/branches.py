"""One half of a decoder layer, attention or MLP, run without the other, for any family.

The halves are found by what the layer's parts do, not by model types or names: the part that lets
a position see earlier ones is the attention, the other parts with weights are the MLP. A half is
left out by putting silent stand-ins in the place of its parts: they answer what the parts would if
their last projection were zero, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from decoder.errors import UnsupportedModel
from decoder.model.null_branch import (
    NullOutput,
    StandIn,
    answer_tensor,
    find_null_output,
    hidden_like,
    listened,
)
from decoder.model.trace import LayerCall

__all__ = [
    "Branches",
    "State",
    "find_branches",
    "run_attention",
    "run_mlp",
    "run_whole",
    "silenced",
]

State = tuple[Tensor, ...]
"""Equal-shaped tensors [B, T, D] between two steps of a walk: the current hidden states first."""

_MIXES = 2e-2  # relative change by which a part lets positions see each other


@dataclass(frozen=True)
class Branches:
    """The two halves of one layer. It holds no modules, so that weights can come and go.

    Attributes:
        attention: name of the layer's part that mixes positions.
        mlp: names of all other parts with weights, in call order.
        joined: the MLP half, run after the attention half, needs the layer's own input and the
            attention's answer. So it is where the halves run in parallel, both on the layer's
            input, and where norms lie on the residual path.
        null_outputs: how each part answers when it is left out, by its name.
    """

    attention: tuple[str, ...]
    mlp: tuple[str, ...]
    joined: bool
    null_outputs: Mapping[str, NullOutput]


@dataclass(frozen=True)
class _Part:
    """How the layer calls one of its children."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@torch.inference_mode()
def run_whole(call: LayerCall, state: State) -> State:
    """The state after the whole layer."""
    return (call(state[0]),)


@torch.inference_mode()
def run_attention(branches: Branches, call: LayerCall, state: State) -> State:
    """Returns the state after the layer with its MLP left out.

    Only `state[0]` counts. Where the halves are joined the new state has three tensors: hidden
    states, the layer's input and the attention's answer, from which this layer's `run_mlp` goes on.

    Args:
        branches: the halves of the layer.
        call: of the layer.
        state: before the layer.
    """
    (attention,) = branches.attention
    with silenced(call.layer, branches, branches.mlp):
        if not branches.joined:
            return (call(state[0]),)
        with listened(call.layer.get_submodule(attention)) as heard:
            out = call(state[0])
    return out, state[0], answer_tensor(heard[-1][2])


@torch.inference_mode()
def run_mlp(branches: Branches, call: LayerCall, state: State) -> State:
    """The state after the layer's MLP half.

    Args:
        branches: the layer's halves.
        call: the layer's call.
        state: three tensors mean that this layer's own `run_attention` made them, and then the
            result is the whole layer's; give `state[:1]` of a state that comes from anywhere else.
    """
    (attention,) = branches.attention
    module, null_output = call.layer.get_submodule(attention), branches.null_outputs[attention]
    if branches.joined and len(state) == 3:
        hidden, answer = state[1], state[2]
    else:
        hidden, answer = state[0], None
    with _replaced(call.layer, {attention: StandIn(module, null_output, answer)}):
        return (call(hidden),)


@contextmanager
def silenced(layer: nn.Module, branches: Branches, names: Iterable[str]) -> Iterator[None]:
    """Silences these parts of the layer within the context.

    Args:
        layer: that holds the parts.
        branches: with the null outputs of the parts.
        names: of the submodules to silence.
    """
    parts = {
        name: StandIn(layer.get_submodule(name), branches.null_outputs[name]) for name in names
    }
    with _replaced(layer, parts):
        yield


@torch.inference_mode()
def find_branches(call: LayerCall, hidden_BTD: Tensor) -> Branches:
    """The halves of a layer, found by trying it out.

    Args:
        call: how the model calls the layer; of at least 2 positions.
        hidden_BTD: hidden states that enter it, in a batch that fits the call.

    Raises:
        UnsupportedModel: not exactly one part mixes positions, there is no other part with
            weights, or running the halves one after the other is not the whole layer.
    """
    parts = _parts(call, hidden_BTD)
    null_outputs = {part.name: _null_output(call, part, hidden_BTD) for part in parts}
    mixers = tuple(part.name for part in parts if _mixes(part, null_outputs[part.name], hidden_BTD))
    if not mixers:  # an attention whose weights are zero lets nothing be seen, but is one
        stirred = [_stirred(part) for part in parts]
        mixers = tuple(p.name for p in stirred if _mixes(p, null_outputs[p.name], hidden_BTD))
    others = tuple(part.name for part in parts if part.name not in mixers)
    if len(mixers) != 1:
        found = f"{' and '.join(mixers)} all look" if mixers else "none of its parts looks"
        raise _unsupported(call, f"{found} at earlier positions")
    if not others:
        raise _unsupported(call, "it has no MLP beside its attention")
    apart = Branches(mixers, others, False, null_outputs)
    joined = Branches(mixers, others, True, null_outputs)
    try:
        _check_silence(apart, call, hidden_BTD)
        whole = call(hidden_BTD)
        start = (hidden_BTD,)
        if torch.equal(run_mlp(apart, call, run_attention(apart, call, start))[0], whole):
            return apart
        halfway = run_attention(joined, call, start)
        again = run_mlp(joined, call, halfway)[0]
    except (TypeError, AttributeError) as error:
        raise _unsupported(
            call, f"it needs more of its halves than hidden states ({error})"
        ) from error
    if len({tensor.shape for tensor in halfway}) > 1 or not _close(again, whole):
        raise _unsupported(call, "its attention, then its MLP, are not the whole layer")
    return joined


def _parts(call: LayerCall, hidden_BTD: Tensor) -> list[_Part]:
    """The layer's children with weights, in call order, with what they are called with."""
    heard: list[_Part] = []
    children = {
        name: child
        for name, child in call.layer.named_children()
        if any(p.ndim >= 2 for p in child.parameters())
    }

    def listen(name: str, child: nn.Module) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            heard.append(_Part(name, module, args, kwargs))

        return child.register_forward_pre_hook(hook, with_kwargs=True)

    ran: set[str] = set()
    hooks = [listen(name, child) for name, child in children.items()]
    hooks += [
        inner.register_forward_pre_hook(lambda *_, name=name: ran.add(name))
        for name, child in children.items()
        for inner in child.modules()
    ]
    try:
        call(hidden_BTD)
    finally:
        for hook in hooks:
            hook.remove()
    # What did not run (attention to an encoder that is not there) is a part of neither half.
    if sorted(part.name for part in heard) != sorted(ran):
        raise _unsupported(call, f"its parts {', '.join(children)} are not called once each")
    return heard


def _null_output(call: LayerCall, part: _Part, hidden_BTD: Tensor) -> NullOutput:
    null_output = find_null_output(part.module, part.args, part.kwargs, hidden_BTD)
    if null_output is None:
        raise _unsupported(call, f"{part.name} answers something other than hidden states")
    return null_output


def _mixes(part: _Part, null_output: NullOutput, hidden_BTD: Tensor) -> bool:
    """Whether odd positions of the part's answer change when the even ones it sees change."""
    steps = hidden_BTD.shape[1]

    def swap(value: Any) -> Any:
        if not hidden_like(value, hidden_BTD):
            return value
        rows = value.reshape(-1, steps, value.shape[-1]).clone()
        rows[:, ::2] = -rows[:, ::2].flip(-1)
        return rows.reshape(value.shape)

    args = tuple(swap(value) for value in part.args)
    kwargs = {name: swap(value) for name, value in part.kwargs.items()}

    def odd(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        own = null_output.own(part.module(*args, **kwargs), args, kwargs).float()
        return own.reshape(-1, steps, own.shape[-1])[:, 1::2]

    before, after = odd(part.args, part.kwargs), odd(args, kwargs)
    return bool((after - before).norm() > _MIXES * before.norm())


def _stirred(part: _Part) -> _Part:
    """The part with random weights in the place of its own, in a copy."""
    module = deepcopy(part.module)
    chance = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        noise = torch.randn(parameter.shape, generator=chance) / parameter.shape[-1] ** 0.5
        parameter.copy_(noise)
    return replace(part, module=module)


def _check_silence(branches: Branches, call: LayerCall, hidden_BTD: Tensor) -> None:
    """A layer whose parts are all silent must still hand its input on, residual path or not."""
    with silenced(call.layer, branches, (*branches.attention, *branches.mlp)):
        through, other = call(hidden_BTD), call(hidden_BTD.flip(-1))
    if torch.equal(through, other):
        raise _unsupported(call, "its residual connections lie inside its parts")


@contextmanager
def _replaced(layer: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Within this context the layer has these modules in the place of its children."""
    real = {name: layer._modules[name] for name in modules}
    layer._modules.update(modules)
    try:
        yield
    finally:
        layer._modules.update(real)


def _close(found: Tensor, wanted: Tensor) -> bool:
    limit = 16 * torch.finfo(wanted.dtype).eps * float(wanted.float().abs().max())
    return bool(((found.float() - wanted.float()).abs() <= limit).all())


def _unsupported(call: LayerCall, why: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{type(call.layer).__name__}: {why}; this model can be measured with --players layers or "
        "blocks:K"
    )
