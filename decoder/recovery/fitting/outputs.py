"""All parameters by whose last axis of numbers a half writes into the residual stream.

A linear map of what a half writes goes into one projection, and where experts write, into those of
all of them and of the shared one; what chooses among them is not touched. Which parameters that are
is seen from what a map of each alone does, and no family is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from decoder.recovery.fitting.projections import EXACT, Output
from decoder.surgery.weights import changed

__all__ = ["find_outputs"]

_SILENT = 1e-6  # of what the half writes: less than that is nothing


def find_outputs(
    parameters: Iterable[tuple[str, nn.Parameter]], width: int, written: Callable[[], Tensor]
) -> tuple[Output, ...]:
    """Find the parameters that together give all that a half writes, each of them linearly.

    Args:
        parameters: of the half, by name.
        width: D.
        written: runs the half and returns what it adds to the stream [B, T, D].

    Returns:
        Nothing where there are no such parameters, or it cannot be told of each which it is.
    """
    whole = written().float()
    scale = float(whole.norm())
    noise = torch.randn(width, width, generator=torch.Generator().manual_seed(0))
    noise = noise.to(whole) / width**0.5
    precise = max(EXACT, 4 * torch.finfo(written().dtype).eps)
    found: list[Output] = []
    roles: dict[str, int | None] = {}  # axis by what parameters of a kind are called
    silent: list[str] = []
    total = torch.zeros_like(whole)
    for name, parameter in parameters:
        axes = [axis for axis, size in enumerate(parameter.shape) if size == width]
        if not axes or not parameter.is_floating_point() or not bool(parameter.any()):
            continue
        with changed([(parameter, partial(torch.zeros_like, parameter))]):
            own = whole - written().float()
        if own.norm() <= _SILENT * scale:
            silent.append(name)  # an expert that none of the tokens was sent to
            continue
        roles.setdefault(_role(name), None)
        for axis in axes:
            output = Output(name, axis)
            with changed([(parameter, partial(output.added, parameter, noise))]):
                moved = written().float() - whole
            if (moved - own @ noise).norm() <= precise * moved.norm():
                found.append(output)
                roles[_role(name)] = axis
                total += own
                break
    if any(_role(name) not in roles for name in silent):
        return ()
    if (whole - total).norm() > precise * scale:
        return ()
    axes_of_silent = ((name, roles[_role(name)]) for name in silent)
    return (*found, *(Output(name, axis) for name, axis in axes_of_silent if axis is not None))


def _role(name: str) -> str:
    """The name without numbers, which experts that are modules of their own differ by."""
    return re.sub(r"\.\d+\.", ".*.", name)
