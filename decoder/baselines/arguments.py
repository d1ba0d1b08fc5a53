"""What every method is given, checked before the model is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from decoder.model.structure import Stack, find_stack
from decoder.players import Roster

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Segment", "check_counts", "check_model", "segments"]


@dataclass(frozen=True)
class Segment:
    """Adjacent players that can go together, with nothing kept between them.

    Attributes:
        players: their indices.
        slot: the first one's slot in the roster.
        first: their first layer.
        end: the layer after their last.
    """

    players: tuple[int, ...]
    slot: int
    first: int
    end: int


def check_model(
    model: PreTrainedModel, tokens: Int[np.ndarray, "S T"], roster: Roster
) -> tuple[Stack, Int[np.ndarray, "S T"]]:
    """The model's layers, and the tokens as 64-bit integers.

    Raises:
        ValueError: the tokens are not rows of at least 2 ids, or the roster is another model's.
        UnsupportedModel: the model's layers cannot be found.
    """
    ids = np.asarray(tokens)
    if ids.ndim != 2 or ids.dtype.kind not in "iu" or len(ids) == 0 or ids.shape[1] < 2:
        raise ValueError(
            f"tokens must be integers [S, T] with S >= 1 and T >= 2, got {ids.dtype} "
            f"{list(ids.shape)}; pass one row a sequence"
        )
    stack = find_stack(model)
    if roster.depth != len(stack):
        raise ValueError(
            f"roster is of {roster.depth} layers but the model has {len(stack)}; make the roster "
            "with the model's own depth"
        )
    return stack, ids.astype(np.int64)


def check_counts(roster: Roster, counts: Sequence[int]) -> tuple[int, ...]:
    """The counts without repetitions, in ascending order.

    Raises:
        ValueError: there is none, or one that leaves no player or removes none.
    """
    most = len(roster.names) - (0 if roster.protected else 1)
    wanted = tuple(sorted({int(count) for count in counts}))
    wrong = [count for count in wanted if not 1 <= count <= most]
    if wrong or not wanted:
        got = wrong[0] if wrong else "none"
        raise ValueError(f"counts must be from 1 to {most} players removed, got {got}")
    return wanted


def segments(roster: Roster, counts: Sequence[int], method: str) -> dict[int, tuple[Segment, ...]]:
    """Every set of players that are next to each other in depth, by their number.

    Args:
        roster: who plays; whole layers or blocks of them.
        counts: how many players to remove.
        method: its name, for messages.

    Raises:
        ValueError: the counts do not fit, the players are halves of layers, or a count has no
            such set.
    """
    if roster.kind == "sublayers":
        raise ValueError(
            f"{method} removes contiguous whole layers, not attention or MLP alone; use players "
            "layers or blocks:K"
        )
    return {count: _segments(roster, count, method) for count in check_counts(roster, counts)}


def _segments(roster: Roster, count: int, method: str) -> tuple[Segment, ...]:
    found = []
    for start in range(len(roster.slots) - count + 1):
        slots = roster.slots[start : start + count]
        players = tuple(slot.player for slot in slots if slot.player is not None)
        if len(players) == count:
            first, end = slots[0].units[0].layer, slots[-1].units[-1].layer + 1
            found.append(Segment(players, start, first, end))
    if not found:
        raise ValueError(
            f"{method} needs {count} adjacent players, but protected ones "
            f"({', '.join(roster.protected)}) lie between them; remove or protect fewer"
        )
    return tuple(found)
