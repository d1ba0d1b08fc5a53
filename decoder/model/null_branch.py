"""What a part of a decoder layer answers when it is left out.

It is what the part would answer if its last projection, bias included, were zero: zeros, or the
residual where the part is given that and adds it itself (as in BLOOM and MPT). Both are made from
the shapes at hand at every call, so that the batch may be of any size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from decoder.model.trace import StandsFor

__all__ = ["NullOutput", "StandIn", "answer_tensor", "find_null_output", "hidden_like", "listened"]

_ADDS = 0.05  # relative difference between a change of an argument and the change of the answer

Heard = tuple[tuple[Any, ...], dict[str, Any], Any]


@dataclass(frozen=True)
class NullOutput:
    """A part's silent answer.

    Attributes:
        given: position or name of the argument whose rows the answer's follow.
        residual: position or name of the argument that the part adds to its own answer.
        width: last dimension of the answer.
        flat: the answer is [rows, width] whatever the shape of what is given.
        dtype: of the answer.
        members: None where the answer is one tensor; else a tuple's members, tensors left out.
        place: where in the tuple the answer is.
    """

    given: int | str
    residual: int | str | None
    width: int
    flat: bool
    dtype: torch.dtype
    members: tuple[Any, ...] | None
    place: int

    def own(self, output: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """Returns a part's answer without the residual that it added.

        Args:
            output: of the part.
            args: that it was called with.
            kwargs: that it was called with.
        """
        answer = answer_tensor(output)
        if self.residual is None:
            return answer
        return answer - _argument(self.residual, args, kwargs)

    def answer(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        """The silent answer to these arguments."""
        if self.residual is not None:
            return _argument(self.residual, args, kwargs).clone()
        given = _argument(self.given, args, kwargs)
        rows = (given.shape[:-1].numel(),) if self.flat else given.shape[:-1]
        return given.new_zeros((*rows, self.width), dtype=self.dtype)

    def wrapped(self, answer: Tensor) -> Any:
        """The answer in the form in which the part gives it."""
        if self.members is None:
            return answer
        return (*self.members[: self.place], answer, *self.members[self.place + 1 :])


class StandIn(StandsFor):
    """Stands for a part of a layer: silent, or with an answer that was computed before."""

    def __init__(
        self, part: nn.Module, null_output: NullOutput, answer: Tensor | None = None
    ) -> None:
        super().__init__(part)
        self._null_output = null_output
        self._answer = answer

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the part would return."""
        if self._answer is None:
            return self._null_output.wrapped(self._null_output.answer(args, kwargs))
        # Layers may add to an answer in place; this one is shared by every walk from here.
        return self._null_output.wrapped(self._answer.clone())


def find_null_output(
    part: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], hidden_BTD: Tensor
) -> NullOutput | None:
    """How a part answers when it is left out, found by calling it.

    Args:
        part: the child of a layer.
        args: what the layer calls it with.
        kwargs: the same, by name.
        hidden_BTD: the hidden states that entered the layer.

    Returns:
        None where the answer's shape does not follow from the hidden states it is given.
    """
    output = part(*args, **kwargs)
    answer = answer_tensor(output)
    arguments: dict[int | str, Any] = {**dict(enumerate(args)), **kwargs}
    given = next((key for key, value in arguments.items() if hidden_like(value, hidden_BTD)), None)
    if given is None or not isinstance(answer, Tensor) or not hidden_like(answer, hidden_BTD):
        return None
    shape = arguments[given].shape
    flat = answer.ndim == 2
    if not flat and answer.shape[:-1] != shape[:-1]:
        return None
    residual = next(
        (
            key
            for key, value in arguments.items()
            if isinstance(value, Tensor)
            and value.shape == answer.shape
            and value.is_floating_point()
            and _adds(part, key, args, kwargs, answer)
        ),
        None,
    )
    members, place = None, 0
    if not isinstance(output, Tensor):
        place = next(i for i, member in enumerate(output) if isinstance(member, Tensor))
        members = tuple(None if isinstance(member, Tensor) else member for member in output)
    return NullOutput(given, residual, answer.shape[-1], flat, answer.dtype, members, place)


def hidden_like(value: Any, hidden_BTD: Tensor) -> bool:
    """Whether a value has one row a position of the hidden states, [B, T, any] or [B * T, any]."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    rows = hidden_BTD.shape[:2]
    return tuple(value.shape[:-1]) in (tuple(rows), (rows.numel(),))


def answer_tensor(output: Any) -> Any:
    """The first tensor of what a part returns; None where there is none."""
    if isinstance(output, Tensor):
        return output
    members = output if isinstance(output, tuple | list) else ()
    return next((member for member in members if isinstance(member, Tensor)), None)


@contextmanager
def listened(module: nn.Module) -> Iterator[list[Heard]]:
    """Lend a list that gets (args, kwargs, output) of every call of the module."""
    heard: list[Heard] = []

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        heard.append((args, kwargs, output))

    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield heard
    finally:
        handle.remove()


def _argument(key: int | str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    return args[key] if isinstance(key, int) else kwargs[key]


def _adds(
    part: nn.Module,
    key: int | str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    before: Tensor,
) -> bool:
    """Whether changing an argument changes the answer by just as much."""
    value = _argument(key, args, kwargs)
    other = value.flip(-1)
    if isinstance(key, int):
        after = part(*(*args[:key], other, *args[key + 1 :]), **kwargs)
    else:
        after = part(*args, **{**kwargs, key: other})
    wanted = (other - value).float()
    found = answer_tensor(after).float() - before.float()
    return bool((found - wanted).norm() <= _ADDS * wanted.norm())
