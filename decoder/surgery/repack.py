"""Putting halves of different layers together into stock layers.

A decoder is attention, MLP, attention, MLP, ... Where the MLP of one layer and the attention of the
next remaining one are both gone, the attention of the first and the MLP of the second are
neighbours, and make one ordinary layer: the model gets shallower by one, exactly. Neighbours of any
other kind (two attentions, two MLPs) have no stock layer to be in; such a half stays in a layer
whose other half is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoder.model.halves import HalfOwnership, find_half_ownership
from decoder.model.structure import Stack, find_stack
from decoder.model.trace import record
from decoder.players import Roster, Unit
from decoder.surgery.delete import assemble, assembled, reduced_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "Block",
    "Packing",
    "packed",
    "plan_blocks",
    "plan_packing",
    "repack",
    "repacked_halves",
    "zeroed_halves",
]


@dataclass(frozen=True)
class Block:
    """One layer of the smaller model.

    Attributes:
        attention: the layer whose attention half it has; None where that half is zero.
        mlp: the layer whose MLP half it has; None where that half is zero.
    """

    attention: int | None
    mlp: int | None

    def __post_init__(self) -> None:
        if self.attention is None and self.mlp is None:
            raise ValueError("a block must have an attention or an MLP; leave it out instead")

    @property
    def mixed(self) -> bool:
        """Whether its halves come from different layers."""
        return None not in (self.attention, self.mlp) and self.attention != self.mlp

    @property
    def attention_layer(self) -> int:
        """The layer whose attention modules it has, zero or not."""
        return self.mlp if self.attention is None else self.attention  # type: ignore[return-value]

    @property
    def mlp_layer(self) -> int:
        """The layer whose MLP modules it has, zero or not."""
        return self.attention if self.mlp is None else self.mlp  # type: ignore[return-value]


def plan_blocks(
    roster: Roster, removed: Sequence[int], fits: Callable[[int, int], bool] | None = None
) -> tuple[Block, ...]:
    """The fewest stock layers that compute what remains, in depth order.

    Every MLP may join the attention right before it and no other, so that taking each pair there
    is gives the fewest.

    Args:
        roster: who the players are.
        removed: players to leave out.
        fits: `fits(i, j)` tells whether the attention of layer i and the MLP of a later layer j
            can be one layer; any two where it is omitted.

    Raises:
        ValueError: an index is no player's, or nothing remains.
    """
    gone = {(u.layer, u.part) for u in roster.removed_halves(removed)}
    layers = set(roster.removed_layers(removed))
    blocks: list[Block] = []
    for layer in range(roster.depth):
        if layer in layers:
            continue
        attention = None if (layer, "attention") in gone else layer
        mlp = None if (layer, "mlp") in gone else layer
        last = blocks[-1] if blocks else None
        joins = attention is None and last is not None and last.mlp is None
        if joins and last is not None and (fits is None or fits(last.attention_layer, layer)):
            blocks[-1] = Block(last.attention, mlp)
        else:
            blocks.append(Block(attention, mlp))
    if not blocks:
        raise ValueError("removing every layer leaves no model; keep at least one")
    return tuple(blocks)


def zeroed_halves(blocks: Iterable[Block]) -> tuple[Unit, ...]:
    """Halves whose weights must be zero, in depth order."""
    found = []
    for block in blocks:
        if block.attention is None:
            found.append(Unit(block.attention_layer, "attention"))
        if block.mlp is None:
            found.append(Unit(block.mlp_layer, "mlp"))
    return tuple(found)


def repacked_halves(blocks: Iterable[Block]) -> tuple[Unit, ...]:
    """Halves that are really gone because their layers' other halves share one, in depth order."""
    mixed = [block for block in blocks if block.mixed]
    found = [Unit(block.attention_layer, "mlp") for block in mixed]
    found += [Unit(block.mlp_layer, "attention") for block in mixed]
    return tuple(sorted(found, key=lambda unit: (unit.layer, unit.part)))


@dataclass(frozen=True)
class Packing:
    """How what remains of one model is put into layers.

    Attributes:
        blocks: the layers of the smaller model.
        sides: what belongs to which half, of the layers that mixed blocks are made of.
        note: why halves that are next to each other do not share a layer; None where all do.
    """

    blocks: tuple[Block, ...]
    halves: Mapping[int, HalfOwnership]
    note: str | None = None


def plan_packing(
    model: PreTrainedModel,
    roster: Roster,
    removed: Sequence[int],
    tokens_BT: Tensor,
    *,
    mix: bool = True,
) -> Packing:
    """The fewest stock layers that this model can have.

    Args:
        model: any decoder whose halves `decoder.model.branches` can tell, where halves go alone.
        roster: who the players are.
        removed: players to leave out.
        tokens_BT: a few tokens to find the halves with.
        mix: whether halves of different layers may share one at all.

    Raises:
        ValueError: an index is no player's, or nothing remains.
        UnsupportedModel: the halves cannot be told.
    """
    blocks = plan_blocks(roster, removed, None if mix else _never)
    wanted = {i for b in blocks if b.mixed for i in (b.attention_layer, b.mlp_layer)}
    if not wanted:
        return Packing(blocks, {})
    stack = find_stack(model)
    with torch.inference_mode():
        trace = record(model, stack, tokens_BT, every_input=True)
    halves = {i: find_half_ownership(trace.calls[i], trace.inputs[i]) for i in sorted(wanted)}
    possible = plan_blocks(roster, removed, partial(_fits, stack, halves))
    if len(possible) == len(blocks):
        return Packing(blocks, halves)
    if not all(side.apart for side in halves.values()):
        note = (
            "attention and MLP of this model read the same input or share a norm on the residual "
            "path, so that halves of different layers cannot share one"
        )
    else:
        note = "some layers are built differently, so that their halves cannot share one"
    return Packing(possible, halves, note)


def repack(model: PreTrainedModel, packing: Packing) -> None:
    """Give the model these blocks as its layers, in place; it saves, reloads and decodes as such.

    Halves that are to be zero keep their weights (see `decoder.surgery.delete.zero_halves`).
    """
    stack = find_stack(model)
    assemble(model, stack, *_made(model, stack, packing))


@contextmanager
def packed(model: PreTrainedModel, stack: Stack, packing: Packing) -> Iterator[None]:
    """Within this context the model is repacked; afterwards it is as before.

    Halves that are to be zero keep their weights: they take the same time and room as they are.
    So it can make the variants of `decoder.cost.speed.measure_speed`.

    Args:
        model: the model that the packing was planned for.
        stack: its layers.
        packing: what `plan_packing` found.
    """
    with assembled(model, stack, *_made(model, stack, packing)):
        yield


def _made(
    model: PreTrainedModel, stack: Stack, packing: Packing
) -> tuple[list[nn.Module], dict[str, Any]]:
    """The layers of a packing, and the configuration values that go with them."""
    blocks = packing.blocks
    layers = [
        _mixed(stack, packing.halves, b) if b.mixed else stack.layers[b.attention_layer]
        for b in blocks
    ]
    settings = reduced_settings(
        model.config.get_text_config(decoder=True),
        [block.attention_layer for block in blocks],
        [block.mlp_layer for block in blocks],
    )
    return layers, settings


def _never(attention: int, mlp: int) -> bool:
    return False


def _fits(stack: Stack, halves: Mapping[int, HalfOwnership], attention: int, mlp: int) -> bool:
    """Whether the attention of one layer and the MLP of another can be one layer."""
    one, other = halves[attention], halves[mlp]
    if not (one.apart and other.apart) or one.shared != other.shared:
        return False
    first, second = stack.layers[attention], stack.layers[mlp]
    return type(first) is type(second) and all(
        _equal(getattr(first, name), getattr(second, name)) for name in one.shared
    )


def _mixed(stack: Stack, halves: Mapping[int, HalfOwnership], block: Block) -> nn.Module:
    """A copy of the attention's layer with the MLP side of the other, sharing their modules."""
    first, second = stack.layers[block.attention_layer], stack.layers[block.mlp_layer]
    layer: Any = copy(first)
    layer._modules, layer._parameters = dict(first._modules), dict(first._parameters)
    for name in halves[block.attention_layer].mlp:
        (layer._modules if name in layer._modules else layer._parameters).pop(name)
    for name in halves[block.mlp_layer].mlp:
        if name in second._modules:
            layer._modules[name] = second._modules[name]
        else:
            layer._parameters[name] = second._parameters[name]
    return layer


def _equal(one: nn.Module | Tensor, other: nn.Module | Tensor) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        first, second = one.state_dict(), other.state_dict()
        return first.keys() == second.keys() and all(_equal(first[n], second[n]) for n in first)
    return False
