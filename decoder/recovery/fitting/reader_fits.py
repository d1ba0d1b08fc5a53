"""Fits of what reads the residual stream: the projections behind a norm, and the head."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from decoder.model.branches import State
from decoder.model.trace import LayerCall
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.projections import half_name
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.fitting.ridge import FEW_TOKENS, STRENGTHS, fit_ridge, gain
from decoder.recovery.fitting.statistics import Sums, check_room

__all__ = ["fit_head", "fit_readers"]


def fit_readers(stream: RepairedStream, half: int) -> float:
    """Fit the projections that a kept half reads by, so that they answer what the dense do.

    What the norm makes of the stream is mapped to what it makes of the dense one, and the map
    is folded into every projection that reads it. No position is left out, since attention to
    a massive first position lives by its keys, but rows count by 1 / |n|: a few families read
    the stream without a norm.

    Args:
        stream: at that half or before it.
        half: which; it must have readers.

    Returns:
        The share of the missing squares that the map explains on held-out sequences.

    Raises:
        RepairError: too few tokens or too little memory, or states that are not finite.
    """
    readers = stream.anatomy.readers(half)
    width = stream.anatomy.width
    what = f"{half_name(half)}, its inputs"
    warning = stream.warn(width, what)
    layer, whole = half // 2, stream.anatomy.joined(half // 2) and half % 2 == 1
    position = half - 1 if whole else half
    wanted = stream.dense.hidden(position)
    dense = [
        _read(stream.anatomy, half, batch.calls[layer], (hidden,))
        for batch, hidden in zip(stream.dense.batches, wanted, strict=True)
    ]
    stream.advance(half)
    check_room(width, width, stream.dense.free, what)
    sums = Sums.empty(width, width, wanted[0].device)
    for batch, state, target in zip(stream.dense.batches, stream.states, dense, strict=True):
        hidden = state[1] if whole and len(state) == 3 else state[0]
        given = _read(stream.anatomy, half, batch.calls[layer], (hidden,))
        given = given.reshape(*hidden.shape[:2], -1)
        given, target = given.float(), target.reshape(given.shape).float()
        weight = 1 / target.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        given, missing = given * weight, (target - given) * weight
        none = torch.zeros(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        sums.add(given, missing, none, batch.first, what)
    found = fit_ridge(sums, FEW_TOKENS if warning else STRENGTHS)
    larger = gain(sums, found.matrix)
    for reader in readers:
        weight = stream.value(reader.weight).double()
        more = found.matrix @ weight if reader.transposed else weight @ found.matrix.T
        stream.values[reader.weight] = (larger * (weight + more)).float()
    return found.explained


def fit_head(stream: RepairedStream) -> float:
    """Fit the head so that it answers what it does to the dense stream.

    Args:
        stream: of what remains.

    Returns:
        The share of the missing squares that its map explains on held-out sequences.

    Raises:
        RepairError: too few tokens or too little memory, or states that are not finite.
    """
    head, name, width = stream.anatomy.head, stream.anatomy.head_name, stream.anatomy.width
    assert head is not None
    assert name is not None
    warning = stream.warn(width, "the head")
    wanted = stream.dense.hidden(stream.path.end)
    stream.advance(stream.path.end)
    check_room(width, width, stream.dense.free, "the head")
    sums = Sums.empty(width, width, wanted[0].device)
    for batch, state, target in zip(stream.dense.batches, stream.states, wanted, strict=True):
        with torch.inference_mode():
            given, answer = head.rows(state[0]), head.rows(target)
        none = torch.zeros(given.shape[:2], dtype=torch.bool, device=given.device)
        sums.add(given, answer.float() - given.float(), none, batch.first, "the head")
    found = fit_ridge(sums, FEW_TOKENS if warning else STRENGTHS)
    weight = stream.value(name).double()
    weight = gain(sums, found.matrix) * (weight + weight @ found.matrix.T)
    stream.values[name] = weight.float()
    return found.explained


class _Reached(Exception):
    """Ends a half before its projections."""


def _read(anatomy: Anatomy, half: int, call: LayerCall, state: State) -> Tensor:
    """What the readers of a half are given; the half stops there."""
    given: list[Tensor] = []

    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        given.append(args[0])
        raise _Reached

    handle = anatomy.readers(half)[0].module.register_forward_pre_hook(hook)
    try:
        with suppress(_Reached):
            anatomy.run(half, call, state)
    finally:
        handle.remove()
    return given[0]
