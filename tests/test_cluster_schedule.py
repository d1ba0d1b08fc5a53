from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sampling
from cluster import contiguous_runs
from cluster.backlog import Backlog
from cluster.schedule import costs


@st.composite
def sorted_coalitions(draw, largest=60):
    n = draw(st.integers(1, 10))
    seed = draw(st.integers(0, 2**32 - 1))
    size = draw(st.integers(0, largest))
    rows = sampling.distinct(np.random.default_rng(seed).random((size, n)) < 0.6)
    return rows[sampling.lexicographic_order(rows)]


def shared_by_hand(first, second):
    kept = [np.flatnonzero(row).tolist() for row in (first, second)]
    length = 0
    while length < min(map(len, kept)) and kept[0][length] == kept[1][length]:
        length += 1
    return length


@given(sorted_coalitions())
def test_shared_work_is_the_common_prefix_of_the_kept_players(rows):
    table = costs(rows, head_cost=1.5)
    by_hand = [shared_by_hand(*pair) for pair in pairwise(rows)]
    assert table.shared.tolist() == [0, *by_hand][: len(rows)]
    assert table.alone.tolist() == [row.sum() + 1.5 for row in rows]


def test_all_coalitions_cost_one_evaluation_a_node_of_the_prefix_tree():
    rows = sampling.enumerate_all(6)
    rows = rows[sampling.lexicographic_order(rows)]
    # One layer evaluation for each non-empty prefix of kept players: there are 2^n - 1.
    assert costs(rows, head_cost=0.0).of_run(0, len(rows)) == 2**6 - 1


@given(sorted_coalitions(), st.integers(1, 5), st.floats(0.1, 100), st.floats(0, 50))
def test_runs_hold_each_coalition_exactly_once_and_in_order(rows, workers, most, least):
    runs = contiguous_runs(rows, workers=workers, most=most, least=least)
    assert all(start < stop for start, stop in runs)
    assert [index for run in runs for index in range(*run)] == list(range(len(rows)))


@given(sorted_coalitions(), st.floats(5, 100))
def test_runs_stay_below_the_cap_unless_they_are_one_coalition(rows, most):
    table = costs(rows)
    for start, stop in contiguous_runs(rows, workers=2, most=most):
        assert stop - start == 1 or table.of_run(start, stop) <= most + 1e-9


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_runs_shrink_so_that_workers_end_together(workers):
    rows = sampling.enumerate_all(11)
    rows = rows[sampling.lexicographic_order(rows)]
    table = costs(rows)
    loads = [table.of_run(*run) for run in contiguous_runs(rows, workers=workers)]
    total = table.of_run(0, len(rows))
    assert 0.7 * total / (2 * workers) <= loads[0] <= total / (2 * workers)
    assert max(loads[-workers:]) < loads[0] / 8
    finish = np.zeros(workers)
    for load in loads:  # each run goes to whoever is free first
        finish[finish.argmin()] += load
    assert finish.max() < 1.02 * finish.mean()
    assert sum(loads) < 1.25 * total  # cuts repeat little shared work


@settings(max_examples=200)
@given(
    sorted_coalitions(largest=40),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sets(st.integers(0, 39), max_size=4),
    st.randoms(use_true_random=False),
)
def test_backlog_measures_all_but_the_deadly_ones(rows, workers, attempts, deadly, chance):
    backlog = Backlog(rows, workers=workers, chunk_seconds=1e-3, max_attempts=attempts)
    measured, aside, flying = [], [], []
    alone = dict.fromkeys(deadly, 0)
    while not backlog.finished:
        while len(flying) < workers and (chunk := backlog.take()):
            flying.append(chunk)
        chunk = flying.pop(chance.randrange(len(flying)))
        inside = [row for row in range(chunk.start, chunk.stop) if row in deadly]
        if chance.random() < 0.1:
            backlog.give_back(chunk)
        elif not inside:
            measured += range(chunk.start, chunk.stop)
            backlog.done(chunk, len(chunk) * 1e-4)
        else:
            if len(chunk) == 1:
                alone[chunk.start] += 1
            if backlog.died(chunk):
                aside.append(chunk.start)
    assert backlog.take() is None
    assert backlog.waiting == 0
    expected = {row for row in deadly if row < len(rows)}
    assert sorted(aside) == sorted(expected)
    assert all(alone[row] == attempts for row in expected)
    assert sorted(measured) == sorted(set(range(len(rows))) - expected)
