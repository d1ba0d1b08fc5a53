"""The edits that leave players out in the fewest stock layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from decoder.model.structure import find_stack
from decoder.players import Roster
from decoder.surgery.blocks import edits_of, plan_blocks
from decoder.surgery.edit import Edits
from decoder.surgery.repack import find_owners, fits, unfit

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Plan", "plan_edits"]


@dataclass(frozen=True)
class Plan:
    """The edits of one set of players.

    Attributes:
        edits: what to do.
        note: why halves that are next to each other do not share a layer; None where all do.
    """

    edits: Edits
    note: str | None = None


def plan_edits(
    roster: Roster, removed: Sequence[int], model: Callable[[], PreTrainedModel]
) -> Plan:
    """Plan the edits that leave players out, with as many halves repacked as the model allows.

    A layer that goes wholly is deleted. Of a half that goes alone the weights become zero, unless
    what is next to it makes an ordinary layer with the other half.

    Args:
        roster: who the players are.
        removed: players to leave out.
        model: gives the model; asked only where halves of different layers would share one.

    Raises:
        ValueError: an index is no player's, or nothing remains.
        UnsupportedModel: the halves cannot be told.
    """
    blocks = plan_blocks(roster, removed)
    wanted = {i for b in blocks if b.mixed for i in (b.attention_layer, b.mlp_layer)}
    if not wanted:
        return Plan(edits_of(blocks, roster.depth))
    whole = model()
    owners = find_owners(whole, wanted)
    possible = plan_blocks(roster, removed, partial(fits, find_stack(whole), owners))
    note = None if len(possible) == len(blocks) else unfit(owners)
    return Plan(edits_of(possible, roster.depth), note)
