"""The breadth-first sweep: each distinct prefix once, whatever the chunks, and little held."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder import count_layer_evaluations
from decoder.evaluate.walk import kept_lists, sweep


@st.composite
def sorted_lists(draw):
    n = draw(st.integers(1, 7))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=1, max_size=40))
    return n, sorted(set(kept_lists(np.array(rows, dtype=bool))))


class Counted:
    """A state that knows how many of its kind are held."""

    held = most = 0

    def __init__(self, prefix):
        self.prefix = prefix
        Counted.held += 1
        Counted.most = max(Counted.most, Counted.held)

    def __del__(self):
        Counted.held -= 1


def in_chunks(n, lists, size, carry):
    stepped, finals, carried = [], [], {}

    def step(number, before):
        after = []
        while before:
            state = before.popleft()
            stepped.append((*state.prefix, number))
            after.append(Counted(stepped[-1]))
            del state
        return after

    Counted.held = Counted.most = 0
    start = Counted(())
    for first in range(0, len(lists), size):
        chunk = lists[first : first + size]
        states, carried = sweep(chunk, n, start, step, carried, carry=carry)
        finals += [state.prefix for state in states]
        del states
    return stepped, finals


@settings(deadline=None)
@given(sorted_lists(), st.integers(1, 50))
def test_each_distinct_prefix_is_stepped_once_across_chunks(game, size):
    n, lists = game
    stepped, finals = in_chunks(n, lists, size, carry=True)
    assert finals == lists
    assert len(stepped) == len(set(stepped))
    assert set(stepped) == {kept[: k + 1] for kept in lists for k in range(len(kept))}


@settings(deadline=None)
@given(sorted_lists(), st.integers(1, 50), st.booleans())
def test_no_more_is_held_than_the_chunk_and_the_carried_path(game, size, carry):
    n, lists = game
    in_chunks(n, lists, size, carry)
    # The start, one state a coalition, the one that a step has just taken, and the carried paths.
    assert Counted.most <= 1 + size + 1 + (2 * (n + 1) if carry else 0)


@settings(deadline=None)
@given(sorted_lists())
def test_chunks_that_carry_nothing_compute_shared_prefixes_again(game):
    n, lists = game
    rows = np.zeros((len(lists), n), dtype=bool)
    for row, kept in enumerate(lists):
        rows[row, list(kept)] = True
    stepped, finals = in_chunks(n, lists, 1, carry=False)
    assert finals == lists
    assert len(stepped) == sum(map(len, lists)) >= count_layer_evaluations(rows)
