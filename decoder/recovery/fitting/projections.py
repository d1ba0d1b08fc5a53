"""The projections of a layer's halves: by which they write into the residual stream and read it.

Halves are numbered through the depth: 2 l is the attention of layer l and 2 l + 1 its MLP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from decoder.model.branches import Branches

__all__ = [
    "EXACT",
    "Output",
    "Reader",
    "Writer",
    "half_name",
    "heard_projections",
    "projection_form",
]

EXACT = 1e-3
"""Relative error up to which an answer counts as linear, in float32."""


def half_name(half: int) -> str:
    """What people call a half: "L4.attn", "L4.mlp"."""
    return f"L{half // 2}.{'mlp' if half % 2 else 'attn'}"


@dataclass(frozen=True)
class Output:
    """A parameter that a map of what a half writes goes into.

    Attributes:
        name: of the parameter.
        axis: the one that has a number for every channel of the stream.
    """

    name: str
    axis: int

    def added(self, value: Tensor, matrix_DD: Tensor) -> Tensor:
        """Return the value with which the half writes a matrix times its answer more.

        Args:
            value: of the parameter.
            matrix_DD: the matrix, in whose precision that is done.
        """
        rows = value.to(matrix_DD).movedim(self.axis, -1)
        return (rows + rows @ matrix_DD).movedim(-1, self.axis).to(value.dtype)


@dataclass(frozen=True)
class Writer:
    """The projection by which a half writes into the residual stream, exactly linearly.

    Attributes:
        half: whose it is.
        module: the projection.
        weight: full name of its weight.
        bias: full name of its bias; None where it has none.
        transposed: the weight is [inputs, outputs] and not [outputs, inputs].
        multiplier: what the layer multiplies its answer by before adding it to the stream.
    """

    half: int
    module: nn.Module
    weight: str
    bias: str | None
    transposed: bool
    multiplier: float

    @property
    def inputs(self) -> int:
        """Numbers that the projection is given for a token."""
        matrix: Any = self.module.weight
        return matrix.shape[0] if self.transposed else matrix.shape[1]

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Its weight and its bias, where a map of what it answers goes into."""
        weight = Output(self.weight, int(self.transposed))
        return (weight,) if self.bias is None else (weight, Output(self.bias, 0))


@dataclass(frozen=True)
class Reader:
    """A projection by which a half reads what the norm makes of the residual stream.

    Attributes:
        module: the projection.
        weight: full name of its weight.
        transposed: the weight is [inputs, outputs] and not [outputs, inputs].
    """

    module: nn.Module
    weight: str
    transposed: bool


def heard_projections(
    layer: nn.Module, branches: Branches, half: int, run: Callable[[], Any]
) -> list[tuple[str, nn.Module, Tensor, Tensor]]:
    """Hear the modules of a half that hold one matrix, with what they are given and answer.

    Args:
        layer: the layer.
        branches: its halves.
        half: which.
        run: runs it.

    Returns:
        Name, module, input and answer of each, in call order.
    """
    heard: list[tuple[str, nn.Module, Tensor, Tensor]] = []

    def listen(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                # A layer may add to an answer in place afterwards.
                heard.append((name, module, args[0], output.clone()))

        return module.register_forward_hook(hook)

    hooks = []
    for part in branches.mlp if half % 2 else branches.attention:
        for name, module in layer.get_submodule(part).named_modules():
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and weight.ndim == 2:
                hooks.append(listen(f"{part}.{name}" if name else part, module))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return heard


def projection_form(module: nn.Module, given: Tensor, answer: Tensor) -> bool | None:
    """Tell whether a projection's weight is transposed.

    Args:
        module: the projection.
        given: what it was given.
        answer: what it answered.

    Returns:
        None where it is no plain projection, or quantised.
    """
    weight: Any = module.weight
    bias: Any = getattr(module, "bias", None)
    if not weight.is_floating_point():
        return None
    rows = given.flatten(0, -2).float()
    wanted = answer.flatten(0, -2).float()
    for transposed in (False, True):
        matrix = weight.float() if transposed else weight.float().T
        if matrix.shape != (rows.shape[1], wanted.shape[1]):
            continue
        own = rows @ matrix + (0 if bias is None else bias.float())
        limit = max(EXACT, 4 * torch.finfo(answer.dtype).eps)
        if (own - wanted).norm() <= limit * wanted.norm():
            return transposed
    return None
