"""Walks over kept prefixes: each distinct (prefix, step) pair is computed once.

Two coalitions that keep the same first k steps share the hidden states after them. Depth first,
one coalition after the other needs no more than one state a step. Breadth first, a whole chunk of
coalitions goes through one step after the other: the prefixes at hand form one batch, and what a
step needs (its weights, say) is brought in once a chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Bool

from sampling.coalitions import lexicographic_order
from sampling.prefix_costs import prefix_costs

__all__ = ["count_layer_evaluations", "kept_lists", "sweep", "walk"]

State = TypeVar("State")
Kept = tuple[int, ...]


def kept_lists(coalitions: Bool[np.ndarray, "B n"]) -> list[Kept]:
    """The kept steps of each row, in depth order."""
    return [tuple(np.flatnonzero(row).tolist()) for row in coalitions]


def walk(
    kept: Sequence[Kept], start: State, step: Callable[[int, State], State]
) -> Iterator[State]:
    """The state after each kept list, in the given order, depth first.

    Args:
        kept: kept lists; neighbours should share long prefixes (sorted lists share the longest).
        start: the state before the first step.
        step: (step number, state before) -> state after.
    """
    path: Kept = ()
    states = [start]
    for wanted in kept:
        shared = 0
        while shared < min(len(path), len(wanted)) and path[shared] == wanted[shared]:
            shared += 1
        del states[shared + 1 :]
        for number in wanted[shared:]:
            states.append(step(number, states[-1]))
        path = wanted
        yield states[-1]


def sweep(
    kept: Sequence[Kept],
    steps: int,
    start: State,
    step: Callable[[int, deque[State]], list[State]],
    carried: Mapping[Kept, State],
    *,
    carry: bool = True,
) -> tuple[list[State], dict[Kept, State]]:
    """The states after a chunk of kept lists, breadth first.

    A state is let go as soon as no coalition of the chunk needs it any more: at most one a
    coalition is held, those of one call to `step` and the carried path apart.

    Args:
        kept: kept lists of the chunk.
        steps: how many steps there are.
        start: the state before the first step.
        step: (step number, distinct states before) -> states after, in the same order; called
            once a step at most. It may take states off the left as it goes, to let them go.
        carried: states by prefix that an earlier chunk computed.
        carry: keep the states along the last list's path for the next chunk, so that nothing is
            computed twice where chunks follow each other in sorted order.

    Returns:
        one state a kept list, and the states to carry on, by prefix.
    """
    node = np.zeros(len(kept), dtype=np.int64)
    states: dict[int, State] = {0: start}
    prefixes: dict[int, Kept] = {0: ()}
    path: dict[Kept, State] = {}
    keeps = np.zeros((len(kept), steps), dtype=bool)
    for row, numbers in enumerate(kept):
        keeps[row, list(numbers)] = True
    for number in range(steps):
        goes = keeps[:, number]
        parents = np.unique(node[goes]).tolist()
        wanted = {parent: (*prefixes[parent], number) for parent in parents}
        missing = [parent for parent in parents if wanted[parent] not in carried]
        before = deque(states[parent] for parent in missing)
        for parent in set(states) - set(node[~goes].tolist()):
            del states[parent]  # only `before` holds it now, until the step has used it
        after = dict(zip(missing, step(number, before) if before else [], strict=True))
        del before
        children = {}
        for parent in parents:
            child = children[parent] = len(prefixes)
            prefixes[child] = wanted[parent]
            states[child] = after.pop(parent) if parent in after else carried[wanted[parent]]
        node[goes] = [children[parent] for parent in node[goes].tolist()]
        if carry and keeps[-1, number]:
            path[prefixes[int(node[-1])]] = states[int(node[-1])]
    return [states[number] for number in node.tolist()], path


def count_layer_evaluations(coalitions: Bool[np.ndarray, "B n"]) -> int:
    """Counts the distinct non-empty kept prefixes: the least number of layer evaluations."""
    ordered = coalitions[lexicographic_order(coalitions)]
    return int(prefix_costs(ordered, head_cost=0.0).before[-1])
