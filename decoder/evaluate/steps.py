"""One step of the walk: run a layer, or a half of one, for a batch of hidden states."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from decoder.errors import ModelError
from decoder.model.branches import Branches, State, find_branches, run_attention, run_mlp, run_whole
from decoder.model.trace import LayerCall
from decoder.players import Roster, Unit

__all__ = ["LayerSource", "Node", "Steps", "joined", "parts_of"]


class LayerSource(Protocol):
    """Brings the weights of one layer in, for as long as they are needed."""

    def resident(self, layer: int) -> AbstractContextManager[None]:
        """Within this context the layer's weights are on the device."""
        ...


@dataclass(frozen=True)
class Node:
    """Where a walk is.

    Attributes:
        state: hidden states [B, T, D], and what the second half of a parallel block needs.
        layer: the layer that ran last.
    """

    state: State
    layer: int = -1


class Steps:
    """Runs the units of a roster.

    Args:
        roster: who plays.
        source: brings layers in; None where all of them are there.
        compiled: run layers through `torch.compile`. Halves of layers are run as they are.

    Raises:
        ModelError: there is nothing to compile with.
    """

    def __init__(self, roster: Roster, source: LayerSource | None, compiled: bool = False) -> None:
        if compiled and not _can_compile():
            raise ModelError(
                "--compile: needs a C++ compiler or a GPU; install g++, or leave the option out"
            )
        self.roster = roster
        self._source = source
        self._compiled = compiled
        self._branches: dict[int, Branches] = {}
        self._fast: dict[int, nn.Module] = {}

    @property
    def streamed(self) -> bool:
        """Whether layers are brought in one at a time."""
        return self._source is not None

    @property
    def most_components(self) -> int:
        """Tensors that a state may hold: three within parallel blocks whose halves are players."""
        return 3 if self.roster.kind == "sublayers" else 1

    def brought_in(self, layer: int) -> AbstractContextManager[None]:
        """Within this context the layer can run."""
        return nullcontext() if self._source is None else self._source.resident(layer)

    def pending(self, unit: Unit, node: Node) -> State:
        """What a unit is given: what the other half of its layer left, or hidden states."""
        return node.state if node.layer == unit.layer else node.state[:1]

    def run(self, unit: Unit, calls: Sequence[LayerCall], node: Node) -> Node:
        """The node after a layer or half of one, which must be brought in.

        Args:
            unit: what to run.
            calls: how each layer is called for a batch of the node's size.
            node: where the walk is.
        """
        state, call = self.pending(unit, node), calls[unit.layer]
        if unit.part == "layer":
            state = run_whole(self._quick(unit.layer, call), state)
        else:
            self.probe(unit.layer, call, state[0])
            half = run_attention if unit.part == "attention" else run_mlp
            state = half(self._branches[unit.layer], call, state)
        return Node(state, unit.layer)

    def probe(self, layer: int, call: LayerCall, hidden_BTD: Tensor) -> None:
        """Finds the halves of a layer, where halves play and they are not known yet.

        Args:
            layer: its number.
            call: of the layer, as the dense model made it.
            hidden_BTD: its input.

        Raises:
            UnsupportedModel: they cannot be told.
        """
        if self.roster.kind == "sublayers" and layer not in self._branches:
            self._branches[layer] = find_branches(call, hidden_BTD)

    def _quick(self, layer: int, call: LayerCall) -> LayerCall:
        if not self._compiled:
            return call
        if layer not in self._fast:
            self._fast[layer] = torch.compile(call.layer, dynamic=False)  # type: ignore[assignment]
        return replace(call, layer=self._fast[layer])


def _can_compile() -> bool:
    if torch.cuda.is_available():
        return True
    return any(map(shutil.which, (os.environ.get("CXX", "g++"), "g++", "clang++")))


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Hidden states of several coalitions, stacked along the batch."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def parts_of(hidden: Tensor, rows: int) -> list[Tensor]:
    """Stacked hidden states as one tensor a coalition, each in memory of its own."""
    parts = hidden.split(rows)
    return list(parts) if len(parts) == 1 else [part.clone() for part in parts]
