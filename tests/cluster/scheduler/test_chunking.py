import heapq
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sampling
from cluster.scheduler.chunking import next_stop
from cluster.scheduler.queue import Pace, WorkQueue
from sampling.prefix_costs import prefix_costs
from tests.support.sorted_coalitions import sorted_coalitions


def contiguous_runs(rows, *, workers, most=np.inf, least=0.0):
    """Cuts all rows as workers of one speed would take them."""
    table = prefix_costs(rows)
    runs, start = [], 0
    while start < len(rows):
        stop = next_stop(table, start, len(rows), workers=workers, most=most, least=least)
        runs.append((start, stop))
        start = stop
    return runs


def test_a_million_coalitions_are_cut_without_a_pass_over_them_a_chunk():
    """Memory and time of the costs of many coalitions, measured beside those of few."""

    def usage(size):
        rows = np.zeros((size, 32), dtype=bool)
        rows[:, :20] = (np.arange(size)[:, None] >> np.arange(20)[::-1]) & 1
        tracemalloc.start()
        queue = WorkQueue(rows, chunk_seconds=1e-9)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        pace = Pace()
        pace.learn(1.0, 1.0)
        touched = []
        for _ in range(200):
            assert queue.take(pace, least_seconds=0.0) is not None
            touched.append(queue.waiting)
        assert touched == list(range(size - 1, size - 201, -1))
        return peak

    few, many = usage(100_000), usage(1_000_000)
    assert (many - few) / 900_000 < 40  # bytes a coalition


@given(sorted_coalitions(), st.integers(1, 5), st.floats(0.1, 100), st.floats(0, 50))
def test_runs_hold_each_coalition_exactly_once_and_in_order(rows, workers, most, least):
    runs = contiguous_runs(rows, workers=workers, most=most, least=least)
    assert all(start < stop for start, stop in runs)
    assert [index for run in runs for index in range(*run)] == list(range(len(rows)))


@given(sorted_coalitions(), st.floats(5, 100))
def test_runs_stay_below_the_cap_unless_they_are_one_coalition(rows, most):
    table = prefix_costs(rows)
    for start, stop in contiguous_runs(rows, workers=2, most=most):
        assert stop - start == 1 or table.of_run(start, stop) <= most + 1e-9


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_runs_shrink_so_that_workers_end_together(workers):
    rows = sampling.enumerate_all(11)
    rows = rows[sampling.lexicographic_order(rows)]
    table = prefix_costs(rows)
    loads = [table.of_run(*run) for run in contiguous_runs(rows, workers=workers)]
    total = table.of_run(0, len(rows))
    assert 0.7 * total / (2 * workers) <= loads[0] <= total / (2 * workers)
    assert max(loads[-workers:]) < loads[0] / 8
    finish = np.zeros(workers)
    for load in loads:  # each run goes to whoever is free first
        finish[finish.argmin()] += load
    assert finish.max() < 1.02 * finish.mean()
    assert sum(loads) < 1.25 * total  # cuts repeat little shared work


def drive(rows, speeds, head_cost=2.0):
    """Simulates workers of given speeds on one backlog: their finishing times and loads."""
    queue = WorkQueue(rows, head_cost=head_cost, chunk_seconds=1e9)
    paces = [Pace() for _ in speeds]
    free = [(0.0, worker) for worker in range(len(speeds))]
    loads = [[] for _ in speeds]
    for pace, speed in zip(paces, speeds, strict=True):
        pace.learn(speed, 1.0)
    while free:
        now, worker = heapq.heappop(free)
        if chunk := queue.take(paces[worker], speeds[worker] / sum(speeds)):
            cost = queue.costs.of_run(chunk.start, chunk.stop)
            queue.done(chunk, cost / speeds[worker], paces[worker])
            loads[worker].append(cost)
            heapq.heappush(free, (now + cost / speeds[worker], worker))
    assert queue.finished
    ends = [sum(load) / speed for load, speed in zip(loads, speeds, strict=True)]
    return np.array(ends), loads


def test_uneven_workers_end_together():
    rows = sampling.enumerate_all(12)
    rows = rows[sampling.lexicographic_order(rows)]
    ends, loads = drive(rows, [1.0, 1.0, 10.0, 40.0])
    assert ends.max() < 1.03 * ends.mean()
    assert 0.7 < loads[3][0] / loads[2][0] / 4 < 1.4  # four times as fast, four times as much
    assert sum(map(sum, loads)) < 1.25 * prefix_costs(rows).of_run(0, len(rows))


def test_a_worker_of_unknown_speed_gets_a_small_chunk_and_learns():
    rows = sampling.enumerate_all(10)
    queue, pace = WorkQueue(rows[sampling.lexicographic_order(rows)]), Pace()
    chunk = queue.take(pace)
    assert chunk is not None
    assert len(chunk) == 4
    queue.done(chunk, 2.0, pace)
    assert pace.rate == queue.costs.of_run(0, 4) / 2.0
    following = queue.take(pace)
    assert following is not None
    cost = queue.costs.of_run(following.start, following.stop)
    assert pace.rate is not None
    assert 0.7 * 3.0 <= cost / pace.rate <= 3.0


def test_a_reply_to_a_chunk_that_was_handed_out_again_is_not_expected():
    queue, pace = WorkQueue(sampling.enumerate_all(3)), Pace()
    chunk = queue.take(pace)
    assert chunk is not None
    assert queue.expects(chunk)
    queue.lost(chunk)
    assert not queue.expects(chunk)
    assert queue.waiting == queue.open == 8


def test_chunks_that_do_not_fit_become_smaller_for_good():
    queue, pace = WorkQueue(sampling.enumerate_all(6)), Pace()
    sizes = []
    while chunk := queue.take(pace):
        if len(chunk) > 1:
            assert queue.too_large(chunk)
        else:
            queue.done(chunk, 1.0, pace)
            sizes.append(chunk.start)
    assert sorted(sizes) == list(range(64))
    alone = WorkQueue(np.ones((1, 2), dtype=bool))
    chunk = alone.take(pace)
    assert chunk is not None
    assert not alone.too_large(chunk)


def test_guilt_counts_deaths_but_not_those_of_machines():
    queue, pace = WorkQueue(np.ones((1, 2), dtype=bool), max_attempts=2), Pace()

    def once(**how):
        chunk = queue.take(pace)
        assert chunk is not None
        return queue.died(chunk, **how)

    assert not once(node="a")
    queue.forgive("a")
    assert queue.guilt(0) == 0
    assert not once(node="b")
    for _ in range(2):
        assert not once(node="b", certain=False)
    assert queue.guilt(0) == 1
    chunk = queue.take(pace)
    assert chunk is not None
    queue.lost(chunk)
    assert once(node="b", certain=False)
    assert queue.finished


@settings(max_examples=200)
@given(
    sorted_coalitions(largest=40),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sets(st.integers(0, 39), max_size=4),
    st.randoms(use_true_random=False),
)
def test_backlog_measures_all_but_the_deadly_ones(rows, workers, attempts, deadly, chance):
    queue = WorkQueue(rows, chunk_seconds=1e-3, max_attempts=attempts)
    pace = Pace()
    measured, aside, flying = [], [], []
    alone = dict.fromkeys(deadly, 0)
    while not queue.finished:
        while len(flying) < workers and (chunk := queue.take(pace, 1 / workers)):
            flying.append(chunk)
        chunk = flying.pop(chance.randrange(len(flying)))
        inside = [row for row in range(chunk.start, chunk.stop) if row in deadly]
        if (fate := chance.random()) < 0.1:
            queue.give_back(chunk)
        elif fate < 0.2:
            queue.lost(chunk)
        elif not inside:
            measured += range(chunk.start, chunk.stop)
            queue.done(chunk, len(chunk) * 1e-4, pace)
        else:
            if len(chunk) == 1:
                alone[chunk.start] += 1
            if queue.died(chunk):
                aside.append(chunk.start)
    assert queue.take(pace) is None
    assert queue.waiting == 0
    expected = {row for row in deadly if row < len(rows)}
    assert sorted(aside) == sorted(expected)
    assert all(alone[row] == attempts for row in expected)
    assert sorted(measured) == sorted(set(range(len(rows))) - expected)
