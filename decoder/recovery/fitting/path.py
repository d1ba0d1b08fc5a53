"""What of a model still runs, half by half, and which state of the dense stream each half faces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from decoder.errors import RepairError
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.surgery.blocks import blocks_of, remaining_units
from decoder.surgery.edit import Edit, Edits, Merge, Patch, canonical, check_edits

__all__ = ["Cut", "Path", "find_path"]


@dataclass(frozen=True)
class Cut:
    """A run of removed halves.

    Attributes:
        start: position of the stream in the dense model where it starts.
        stop: the one at which the next kept half stands; the last one where there is none.
    """

    start: int
    stop: int


@dataclass(frozen=True)
class Path:
    """The halves that edits leave.

    Attributes:
        edits: in canonical order.
        halves: numbers of the kept halves, in depth order.
        cuts: the runs of removed halves between them, in depth order.
        end: the position after the last layer, where the final norm reads.
    """

    edits: Edits
    halves: tuple[int, ...]
    cuts: tuple[Cut, ...]
    end: int

    def before(self, position: int) -> tuple[int, ...]:
        """The kept halves before a position, in depth order."""
        return tuple(half for half in self.halves if half < position)

    def after(self, position: int) -> tuple[int, ...]:
        """The kept halves from a position on, in depth order."""
        return tuple(half for half in self.halves if half >= position)

    def target(self, half: int, anatomy: Anatomy) -> int | None:
        """The position of the dense stream that the state after a kept half should meet.

        None for the attention of a layer whose halves run in parallel, where its MLP stays.

        Args:
            half: which.
            anatomy: of the model.
        """
        following = next((other for other in self.halves if other > half), None)
        if following is None:
            return self.end
        if not anatomy.joined(following // 2):
            return following
        return None if following // 2 == half // 2 else following - following % 2


def find_path(edits: Iterable[Edit], depth: int) -> Path:
    """Find out what edits leave.

    Args:
        edits: what makes the smaller model.
        depth: decoder layers of the original.

    Raises:
        EditError: the edits contradict each other or do not fit the model's depth.
        RepairError: they merge layers or hold a patch already.
    """
    edits = canonical(edits)
    check_edits(edits, depth)
    for edit in edits:
        if isinstance(edit, Merge | Patch):
            raise RepairError(f"{edit.kind}: such models are not repaired; give removals alone")
    kept: list[int] = []
    for unit in remaining_units(blocks_of(edits, depth)):
        if unit.part != "mlp":
            kept.append(2 * unit.layer)
        if unit.part != "attention":
            kept.append(2 * unit.layer + 1)
    return Path(edits, tuple(kept), tuple(_cuts(kept, 2 * depth)), 2 * depth)


def _cuts(kept: list[int], end: int) -> Iterable[Cut]:
    position = 0
    for half in (*kept, end):
        if half > position:
            yield Cut(position, half)
        position = half + 1
