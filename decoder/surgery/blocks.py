"""The layers of a smaller model as halves of the original's, which are its edits seen from within.

A decoder is attention, MLP, attention, MLP, ... Where the MLP of one layer and the attention of the
next remaining one are both gone, the attention of the first and the MLP of the second are
neighbours, and make one ordinary layer: the model gets shallower by one, exactly. Neighbours of any
other kind (two attentions, two MLPs) have no stock layer to be in; such a half stays in a layer
whose other half is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from decoder.players import Roster, Unit
from decoder.surgery.edit import Edit, Edits, Merge, Remove, Repack, ZeroHalf, canonical

__all__ = [
    "Block",
    "blocks_of",
    "edits_of",
    "plan_blocks",
    "remaining_units",
    "removed_players",
    "removed_units",
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


def blocks_of(edits: Iterable[Edit], depth: int) -> tuple[Block, ...]:
    """The layers that edits leave, in depth order.

    Args:
        edits: edits that `decoder.surgery.edit.check_edits` accepts.
        depth: decoder layers of the original.
    """
    gone: set[int] = set()
    zero: set[tuple[int, str]] = set()
    partner: dict[int, int] = {}
    for edit in edits:
        if isinstance(edit, Remove):
            gone.add(edit.layer)
        elif isinstance(edit, Merge):
            gone.update(edit.layers)
        elif isinstance(edit, Repack):
            partner[edit.attention] = edit.mlp
            gone.add(edit.mlp)
        elif isinstance(edit, ZeroHalf):
            zero.add((edit.layer, edit.part))
    return tuple(
        Block(
            None if (layer, "attention") in zero else layer,
            None if (layer, "mlp") in zero else partner.get(layer, layer),
        )
        for layer in range(depth)
        if layer not in gone
    )


def edits_of(blocks: Iterable[Block], depth: int) -> Edits:
    """The edits that leave these layers, without merges: `blocks_of` the other way round.

    Args:
        blocks: layers of the smaller model, in depth order.
        depth: decoder layers of the original.
    """
    found: list[Edit] = []
    left = set(range(depth))
    for block in blocks:
        left -= {block.attention_layer, block.mlp_layer}
        if block.attention is None:
            found.append(ZeroHalf(block.mlp_layer, "attention"))
        elif block.mlp is None:
            found.append(ZeroHalf(block.attention_layer, "mlp"))
        elif block.mixed:
            found.append(Repack(block.attention, block.mlp))
    return canonical([*found, *map(Remove, left)])


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


def remaining_units(blocks: Iterable[Block]) -> tuple[Unit, ...]:
    """What of the original still runs, in depth order: whole layers, and halves that are alone."""
    found = []
    for block in blocks:
        if block.attention == block.mlp:
            found.append(Unit(block.attention_layer, "layer"))
            continue
        if block.attention is not None:
            found.append(Unit(block.attention, "attention"))
        if block.mlp is not None:
            found.append(Unit(block.mlp, "mlp"))
    return tuple(found)


def removed_units(edits: Iterable[Edit]) -> tuple[Unit, ...]:
    """What of the original does not run any more, in depth order: whole layers and halves."""
    found = []
    for edit in edits:
        if isinstance(edit, Merge):
            found += [Unit(layer, "layer") for layer in edit.layers]
        elif isinstance(edit, Repack):
            found += [Unit(edit.attention, "mlp"), Unit(edit.mlp, "attention")]
        elif isinstance(edit, Remove):
            found.append(Unit(edit.layer, "layer"))
        elif isinstance(edit, ZeroHalf):
            found.append(Unit(edit.layer, edit.part))
    return tuple(sorted(found, key=lambda unit: (unit.layer, unit.part)))


def removed_players(roster: Roster, edits: Iterable[Edit]) -> tuple[int, ...] | None:
    """Name the players that edits leave out; None where it is not whole players that they do.

    Args:
        roster: who the players are.
        edits: what makes the smaller model.
    """
    gone = _halves(removed_units(edits))
    slots = [slot for slot in roster.slots if slot.player is not None]
    out = {s.player: _halves(s.units) for s in slots if _halves(s.units) <= gone}
    if set().union(*out.values()) != gone:
        return None
    return tuple(player for player in out if player is not None)


def _halves(units: Iterable[Unit]) -> set[tuple[int, str]]:
    both = ("attention", "mlp")
    return {(u.layer, part) for u in units for part in (both if u.part == "layer" else (u.part,))}
