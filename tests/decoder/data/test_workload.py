"""Batches hold every row once, score the right places, and pad without waste."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder import TextError, TokenText, Workload
from decoder.data.workload import batches, task_batches
from tests.support.workload_samples import task, text


@settings(deadline=None)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=30), st.integers(1, 120), st.data())
def test_every_place_of_every_row_is_scored_once(lengths, tokens_a_batch, data):
    rng = np.random.default_rng(sum(lengths))
    rows = [rng.integers(0, 99, length) for length in lengths]
    places = [
        np.sort(rng.permutation(length - 1)[: data.draw(st.integers(1, length - 1))])
        for length in lengths
    ]
    seen = {}
    for batch in batches(rows, places, tokens_a_batch):
        assert len(batch.rows) == 1 or batch.tokens.size <= tokens_a_batch
        assert batch.tokens.size <= 1.25 * sum(lengths[row] for row in batch.rows)
        line = batch.places // batch.tokens.shape[1]
        assert (np.bincount(line, minlength=len(batch.rows)) == batch.counts).all()
        for number, row in enumerate(batch.rows):
            where = batch.places[line == number] - number * batch.tokens.shape[1]
            assert (batch.tokens[number, : lengths[row]] == rows[row]).all()
            assert (batch.targets[line == number] == rows[row][where + 1]).all()
            assert row not in seen
            seen[row] = where.tolist()
    assert seen == {row: where.tolist() for row, where in enumerate(places)}


def test_a_tasks_rows_score_their_continuations_only():
    found = {}
    for batch in task_batches(task(), 100):
        line = batch.places // batch.tokens.shape[1]
        for number, row in enumerate(batch.rows):
            found[int(row)] = batch.targets[line == number].tolist()
        assert batch.tokens.shape[1] == max(len(task().rows[row]) - 1 for row in batch.rows)
    assert found == {0: [3, 4], 1: [5], 2: [7, 6, 5], 3: [1]}


def test_metrics_name_what_is_measured_in_order():
    both = Workload(text(), (task(),))
    assert [(m.name, len(m.weights), m.sign) for m in both.metrics] == [
        ("nll", 5, -1),
        ("kl", 5, -1),
        ("top1", 5, 1),
        ("toy.acc", 2, 1),
        ("toy.acc_norm", 2, 1),
        ("toy.margin", 2, 1),
    ]
    assert [set(metric.weights) for metric in both.metrics] == [{8}] * 3 + [{1}] * 3
    assert [m.name for m in Workload(None, (task(),)).metrics] == [
        "toy.acc",
        "toy.acc_norm",
        "toy.margin",
    ]


def test_scored_positions_are_random_fixed_and_of_the_share():
    workload = Workload(text(length=101), score_share=0.25, seed=3)
    places = workload.scored_places()
    assert [len(p) for p in places] == [25] * 5
    assert len({tuple(p) for p in places}) == 5, "each sequence has positions of its own"
    again = Workload(text(length=101), score_share=0.25, seed=3)
    other = Workload(text(length=101), score_share=0.25, seed=4)
    assert all((a == b).all() for a, b in zip(places, again.scored_places(), strict=True))
    assert again.fingerprint() == workload.fingerprint() != other.fingerprint()


def test_fingerprints_tell_what_is_measured():
    workloads = [
        Workload(text()),
        Workload(text(seed=1)),
        Workload(text(), (task(),)),
        Workload(None, (task(),)),
        Workload(text(), score_share=0.5),
    ]
    assert len({workload.fingerprint() for workload in workloads}) == len(workloads)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Workload(), "nothing to measure on"),
        (lambda: Workload(text(), score_share=0.0), "--score-share 0.0: must be above 0"),
        (lambda: Workload(text(), score_share=1.5), "--score-share 1.5: must be above 0"),
        (lambda: Workload(text(), (task(), task())), "two tasks are called toy"),
        (lambda: Workload(TokenText(np.ones((1, 1), int), "x")), "at least 2 tokens"),
    ],
)
def test_workloads_that_cannot_be(make, message):
    with pytest.raises(TextError, match=message):
        make()
