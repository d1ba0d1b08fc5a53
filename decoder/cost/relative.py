"""What players and head cost to measure, relative to a layer or half of one: for handing out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from decoder.players import Roster

if TYPE_CHECKING:
    from decoder.checkpoint.inspect import Footprint

__all__ = ["head_cost", "player_costs"]


def head_cost(size: Footprint, roster: Roster) -> float:
    """Work of the head and of all that is protected, in units of a layer or half of one."""
    inside = (1 - size.other_bytes / size.total_bytes) * size.parameters
    unit = inside / sum(len(slot.units) for slot in roster.slots)
    protected = sum(len(slot.units) for slot in roster.slots if slot.player is None)
    return size.vocabulary * size.hidden_size / unit + protected


def player_costs(roster: Roster) -> Float[np.ndarray, "n"]:
    """Work of each player, in the same units."""
    slots = [slot for slot in roster.slots if slot.player is not None]
    return np.array([float(len(slot.units)) for slot in slots])
