"""The depth-first walk over kept prefixes: each distinct (prefix, layer) pair is computed once.

Two coalitions that keep the same first k layers share the hidden states after them. Visiting
coalitions in depth-first order of their kept lists needs no more than one hidden state a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Bool

__all__ = ["count_layer_evaluations", "kept_lists", "walk"]

State = TypeVar("State")


def kept_lists(coalitions: Bool[np.ndarray, "B n"]) -> list[tuple[int, ...]]:
    """The kept players of each coalition, in depth order."""
    return [tuple(np.flatnonzero(row).tolist()) for row in coalitions]


def walk(
    kept: Sequence[tuple[int, ...]], start: State, step: Callable[[int, State], State]
) -> Iterator[State]:
    """The state after each kept list, in the given order.

    Args:
        kept: kept lists; neighbours should share long prefixes (sorted lists share the longest).
        start: the state before the first layer.
        step: (layer, state before) -> state after.
    """
    path: tuple[int, ...] = ()
    states = [start]
    for wanted in kept:
        shared = 0
        while shared < min(len(path), len(wanted)) and path[shared] == wanted[shared]:
            shared += 1
        del states[shared + 1 :]
        for layer in wanted[shared:]:
            states.append(step(layer, states[-1]))
        path = wanted
        yield states[-1]


def count_layer_evaluations(coalitions: Bool[np.ndarray, "B n"]) -> int:
    """Distinct non-empty kept prefixes: the least number of layer evaluations."""
    return len({kept[: k + 1] for kept in kept_lists(coalitions) for k in range(len(kept))})
