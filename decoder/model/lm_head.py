"""The way from the last layer's hidden states to logits: the model's own, whatever it is.

The layers are replaced by a stub that returns given hidden states, so this is right for every
head, however the model computes it. Recording the modules that run then tells whether the head is
a plain chain of norms and one linear map, which `decoder.evaluate.losses` computes much faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoder.model.structure import Stack
from decoder.model.trace import StandsFor, replaced

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LinearLMHead", "injected", "linear_lm_head"]


@dataclass(frozen=True)
class LinearLMHead:
    """Logits that are a linear map of normed hidden states, times a constant.

    Attributes:
        chain: modules before the map, in order.
        weight_VD: the map.
        bias_V: its bias.
        scale: the constant.
    """

    chain: tuple[nn.Module, ...]
    weight_VD: Tensor
    bias_V: Tensor | None
    scale: float

    def rows(self, hidden_ND: Tensor) -> Tensor:
        """What the linear map is given for these hidden states."""
        for module in self.chain:
            hidden_ND = module(hidden_ND)
        return hidden_ND


class _Stub(StandsFor):
    """Returns what the whole stack is to have returned, whatever it is called with."""

    def __init__(self, layer: nn.Module, answer: list[Any]) -> None:
        super().__init__(layer)
        self._answer = answer

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._answer[0]


@contextmanager
def injected(
    model: PreTrainedModel, stack: Stack, returns: int
) -> Iterator[Callable[[Tensor, Tensor], Tensor]]:
    """Lend `logits(tokens_BT, hidden_BTD)`: the model's own forward from given final hidden states.

    Args:
        model: the model; its layers may be empty shells.
        stack: its layers.
        returns: length of the tuple that layers return; 0 for a tensor.
    """
    answer: list[Any] = [None]
    stubs = [_Stub(layer, answer) for layer in stack.layers]

    def logits(tokens_BT: Tensor, hidden_BTD: Tensor) -> Tensor:
        answer[0] = (hidden_BTD, *[None] * (returns - 1)) if returns else hidden_BTD
        return model(input_ids=tokens_BT, use_cache=False).logits

    with replaced(stack, stubs):
        yield logits


def linear_lm_head(
    model: PreTrainedModel, stack: Stack, returns: int, tokens_BT: Tensor, hidden_BTD: Tensor
) -> LinearLMHead | None:
    """The model's head as a linear tail, or None where it is something else.

    The chain is found by following the hidden states through the modules that run, and believed
    only if it gives the model's own logits.

    Args:
        model: the model.
        stack: its layers.
        returns: see `injected`.
        tokens_BT: a few tokens.
        hidden_BTD: hidden states that leave the last layer on them.
    """
    if hidden_BTD.ndim != 3:
        return None
    ran: list[tuple[nn.Module, Tensor, Tensor]] = []

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            ran.append((module, args[0], output))

    inside = {id(m) for layer in stack.layers for m in layer.modules()}
    hooks = [m.register_forward_hook(after) for m in model.modules() if id(m) not in inside]
    try:
        with injected(model, stack, returns) as logits:
            wanted_BTV = logits(tokens_BT, hidden_BTD)
    finally:
        for hook in hooks:
            hook.remove()
    current, chain = hidden_BTD, []
    for module, given, returned in ran:
        same = given.data_ptr() == current.data_ptr() and given.shape == current.shape
        if same and not isinstance(module, nn.Dropout | nn.Identity):
            chain.append(module)
            current = returned
    if not chain or not isinstance(chain[-1], nn.Linear):
        return None
    *norms, head = chain
    scale = _scale(current.float(), wanted_BTV.float(), wanted_BTV.dtype)
    if scale is None:
        return None
    bias = None if head.bias is None else head.bias.detach()
    return LinearLMHead(tuple(norms), head.weight.detach(), bias, scale)


def _scale(own: Tensor, model: Tensor, dtype: torch.dtype) -> float | None:
    """The constant between two sets of logits; None where there is no such constant."""
    if own.shape != model.shape:
        return None
    if torch.equal(own, model):
        return 1.0
    scale = float((own * model).sum() / (own * own).sum().clamp_min(1e-30))
    precision = 4 * torch.finfo(dtype).eps
    # A soft cap on small logits looks like a constant just below one.
    if abs(scale - 1) < 0.02 or not torch.allclose(own * scale, model, rtol=precision, atol=0):
        return None
    return scale
