"""Who plays: layers, halves of layers or blocks of layers, and who is kept out of the game."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

__all__ = ["Part", "Roster", "Slot", "Unit", "make_roster"]

Part = Literal["layer", "attention", "mlp"]

_ENDINGS: dict[Part, str] = {"layer": "", "attention": ".attn", "mlp": ".mlp"}
_LAYERS = re.compile(r"L?(\d+)(?:\s*-\s*L?(\d+))?", re.ASCII)


@dataclass(frozen=True)
class Unit:
    """The smallest thing that can be left out: a whole layer, or one half of it."""

    layer: int
    part: Part

    @property
    def name(self) -> str:
        """What people call it: "L4", "L4.attn", "L4.mlp"."""
        return f"L{self.layer}{_ENDINGS[self.part]}"


@dataclass(frozen=True)
class Slot:
    """One step of the walk through the model.

    Attributes:
        units: what runs in it, in depth order: one unit, or the layers of a block.
        player: index into the roster's names; None where it is protected, which is always kept.
    """

    units: tuple[Unit, ...]
    player: int | None

    @property
    def name(self) -> str:
        """What people call it: "L4", "L4.attn", "L4-6"."""
        first, last = self.units[0], self.units[-1]
        if first.layer != last.layer:
            return f"L{first.layer}-{last.layer}"
        return first.name


@dataclass(frozen=True)
class Roster:
    """The players of one model and the slots of its depth they stand for.

    Attributes:
        kind: "layers", "sublayers" or "blocks:K".
        depth: decoder layers of the model.
        names: players in the game, in depth order.
        slots: every step through the model in depth order, protected ones too.
        protected: names of those kept out of the game, in depth order.
    """

    kind: str
    depth: int
    names: tuple[str, ...]
    slots: tuple[Slot, ...]
    protected: tuple[str, ...]

    @property
    def layers(self) -> tuple[tuple[int, ...], ...]:
        """The layers that each player is, or is a part of, in depth order."""
        return tuple(
            tuple(unit.layer for unit in slot.units)
            for slot in self.slots
            if slot.player is not None
        )

    @property
    def pairs(self) -> Bool[np.ndarray, "n-1"] | None:
        """Whether each half and the next one, were they to go together, save what a layer takes.

        A half that goes alone can only be zeroed in a stock model; two that follow each other
        leave an ordinary layer. None where whole layers play.
        """
        if self.kind != "sublayers":
            return None
        places = [at for at, slot in enumerate(self.slots) if slot.player is not None]
        return np.diff(places) == 1

    def slots_kept(self, coalitions: Bool[np.ndarray, "B n"]) -> Bool[np.ndarray, "B s"]:
        """Which slots run under each coalition of players; protected ones always do.

        Raises:
            ValueError: the coalitions are not boolean rows of one column a player.
        """
        coalitions = np.asarray(coalitions)
        n = len(self.names)
        if coalitions.dtype != bool or coalitions.ndim != 2 or coalitions.shape[1] != n:
            raise ValueError(
                f"coalitions must be a boolean array [B, {n}], got {coalitions.dtype} "
                f"{list(coalitions.shape)}; pass one row a coalition, True = kept"
            )
        kept = np.ones((len(coalitions), len(self.slots)), dtype=bool)
        kept[:, [slot.player is not None for slot in self.slots]] = coalitions
        return kept

    def removed_layers(self, removed: Sequence[int]) -> tuple[int, ...]:
        """Layers that go wholly, both halves included, when these players are removed.

        Args:
            removed: indices of players.

        Raises:
            ValueError: an index is no player's.
        """
        halves = self._removed_units(removed)
        whole = {unit.layer for unit in halves if unit.part == "layer"}
        both = {u.layer for u in halves if u.part == "attention"} & {
            u.layer for u in halves if u.part == "mlp"
        }
        return tuple(sorted(whole | both))

    def removed_halves(self, removed: Sequence[int]) -> tuple[Unit, ...]:
        """Halves that go while the other half of their layer stays, in depth order.

        Args:
            removed: indices of players.

        Raises:
            ValueError: an index is no player's.
        """
        gone = set(self.removed_layers(removed))
        return tuple(unit for unit in self._removed_units(removed) if unit.layer not in gone)

    def find(self, text: str) -> tuple[int, ...]:
        """Sorted indices of the players that a person means.

        Parts are separated by commas: a name ("L4.attn"), a layer ("4" or "L4": every player in
        it) or a range of layers ("0-3"). All layers of a block must be given, or its name. An
        empty text means nobody.

        Raises:
            ValueError: a part is unknown, protected, or only some layers of a block.
        """
        slots = _resolve(text, self.slots, self.depth, "players")
        kept_out = [self.slots[slot].name for slot in slots if self.slots[slot].player is None]
        if kept_out:
            raise ValueError(
                f"players {text!r}: {', '.join(kept_out)} {_is(kept_out)} protected and cannot be "
                "removed; leave out of the set or out of --protect"
            )
        return tuple(player for s in slots if (player := self.slots[s].player) is not None)

    def _removed_units(self, removed: Sequence[int]) -> tuple[Unit, ...]:
        wanted, n = set(removed), len(self.names)
        for player in wanted:
            if not 0 <= player < n:
                raise ValueError(f"removed has player {player}; players are 0 to {n - 1}")
        return tuple(u for slot in self.slots if slot.player in wanted for u in slot.units)


def make_roster(kind: str, depth: int, protect: str | Sequence[str] = ()) -> Roster:
    """Players of one kind in a model of `depth` decoder layers.

    Args:
        kind: "layers", "sublayers" (attention and MLP apart) or "blocks:K" (K layers together;
            the last block may be shorter).
        depth: decoder layers.
        protect: players kept out of the game, as text or texts in the grammar of `Roster.find`.

    Raises:
        ValueError: unknown kind, K out of range, unknown names, or nobody left in the game.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1 layer, got {depth}")
    every = tuple(Slot(units, None) for units in _units(kind, depth))
    text = protect if isinstance(protect, str) else ",".join(protect)
    kept_out = set(_resolve(text, every, depth, "--protect"))
    if len(kept_out) == len(every):
        raise ValueError(f"--protect {text}: leaves no player in the game; protect fewer")
    slots, names = [], []
    for index, slot in enumerate(every):
        if index in kept_out:
            slots.append(slot)
        else:
            slots.append(Slot(slot.units, len(names)))
            names.append(slot.name)
    protected = tuple(slot.name for slot in slots if slot.player is None)
    return Roster(kind, depth, tuple(names), tuple(slots), protected)


def _units(kind: str, depth: int) -> list[tuple[Unit, ...]]:
    layers = [Unit(layer, "layer") for layer in range(depth)]
    if kind == "layers":
        return [(unit,) for unit in layers]
    if kind == "sublayers":
        parts: tuple[Part, Part] = ("attention", "mlp")
        return [(Unit(layer, part),) for layer in range(depth) for part in parts]
    word, _, number = kind.partition(":")
    if word == "blocks" and re.fullmatch("[0-9]+", number):
        size = int(number)
        if 1 <= size <= depth:
            return [tuple(layers[start : start + size]) for start in range(0, depth, size)]
        raise ValueError(f"--players {kind}: K must be from 1 to {depth}, the model's layers")
    raise ValueError(
        f"--players {kind}: unknown; choose layers, sublayers or blocks:K with K from 1 to {depth}"
    )


def _resolve(text: str, slots: Sequence[Slot], depth: int, argument: str) -> tuple[int, ...]:
    """Sorted indices of the slots that `text` names."""
    names = {slot.name: index for index, slot in enumerate(slots)}
    found: set[int] = set()
    layers: set[int] = set()
    for part in (piece.strip() for piece in text.split(",")):
        if part in names:
            found.add(names[part])
        elif part:
            layers.update(_layers(part, names, depth, argument))
    for index, slot in enumerate(slots):
        inside = {unit.layer for unit in slot.units}
        if inside <= layers:
            found.add(index)
        elif inside & layers and index not in found:
            some = ", ".join(str(layer) for layer in sorted(inside & layers))
            raise ValueError(
                f"{argument} {text!r}: layer {some} is part of player {slot.name}; "
                f"give the whole of {slot.name}"
            )
    return tuple(sorted(found))


def _layers(part: str, names: Iterable[str], depth: int, argument: str) -> range:
    match = _LAYERS.fullmatch(part)
    known = list(names)
    if match is None:
        near = difflib.get_close_matches(part, known, n=1, cutoff=0.4)
        hint = f"; the nearest name is {near[0]!r}" if near else ""
        raise ValueError(
            f"{argument} {part!r}: unknown; players are {known[0]} to {known[-1]} and layers "
            f"0 to {depth - 1}{hint}"
        )
    first, last = int(match[1]), int(match[2] or match[1])
    if max(first, last) >= depth:
        raise ValueError(
            f"{argument} {part!r}: no such layer; layers are 0 to {depth - 1}, players are "
            f"{known[0]} to {known[-1]}"
        )
    if first > last:
        raise ValueError(f"{argument} {part!r} runs backwards; write the smaller end first")
    return range(first, last + 1)


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
