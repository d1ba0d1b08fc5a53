from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import (
    allocate,
    draw_stratum,
    even_quotas,
    keys,
    random_of_sizes,
    stratified,
    stratum_size,
    stream,
    unrank,
)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 128), st.data())
def test_draws_are_distinct_of_the_right_size_and_seeded(n, data):
    removed = data.draw(st.integers(0, n))
    count = data.draw(st.integers(0, 300))
    rows = draw_stratum(n, removed, count, stream(3, "x"))
    assert rows.shape == (min(count, math.comb(n, removed)), n)
    assert ((~rows).sum(axis=1) == removed).all()
    assert len(set(keys(rows))) == len(rows)
    again = draw_stratum(n, removed, count, stream(3, "x"))
    assert (rows == again).all()
    fewer = draw_stratum(n, removed, count // 2, stream(3, "x"))
    assert (rows[: len(fewer)] == fewer).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.data())
def test_unrank_is_a_bijection(n, data):
    removed = data.draw(st.integers(0, n))
    rows = unrank(n, removed, np.arange(stratum_size(n, removed)))
    assert ((~rows).sum(axis=1) == removed).all()
    assert len(set(keys(rows))) == math.comb(n, removed)
    if removed:
        assert np.flatnonzero(~rows[0]).tolist() == list(range(removed))
        assert np.flatnonzero(~rows[-1]).tolist() == list(range(n - removed, n))


def test_unrank_refuses_ranks_outside():
    with pytest.raises(ValueError, match="0 to 5"):
        unrank(4, 2, np.array([6]))


def test_near_full_and_huge_quotas_do_not_stall():
    start = time.perf_counter()
    size = math.comb(64, 4)
    assert len(draw_stratum(64, 4, size - 1, stream(0, "x"))) == size - 1
    assert len(draw_stratum(128, 64, 20_000, stream(0, "x"))) == 20_000
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(("n", "removed"), [(8, 3), (24, 11)])
def test_draws_are_uniform(n, removed):
    # 24 choose 11 is above the shuffling limit, so both ways of drawing are tested.
    rows = np.concatenate(
        [draw_stratum(n, removed, 40, stream(seed, "uniform")) for seed in range(100)]
    )
    dropped = (~rows).mean(axis=0)
    assert np.abs(dropped - removed / n).max() < 4 * math.sqrt(0.25 / 4000)
    together = (~rows[:, 0] & ~rows[:, 1]).mean()
    assert abs(together - removed * (removed - 1) / (n * (n - 1))) < 0.03


def test_random_of_sizes():
    sizes = np.repeat(np.arange(11), 300)
    rows = random_of_sizes(10, sizes, stream(0, "x"))
    assert (rows.sum(axis=1) == sizes).all()
    assert np.abs(rows[sizes == 3].mean(axis=0) - 0.3).max() < 0.12


def test_stratified_follows_its_quotas():
    rows = stratified(20, {1: 50, 4: 60, 2: 7}, seed=5)
    removed = (~rows).sum(axis=1)
    assert np.bincount(removed).tolist() == [0, 20, 7, 0, 60]
    assert len(set(keys(rows))) == 87
    other = stratified(20, {4: 60}, seed=5)
    assert (other == rows[27:]).all()


def test_even_quotas_pass_on_what_small_strata_cannot_use():
    assert even_quotas(10, [1, 2, 3], 300) == {1: 10, 2: 45, 3: 120}
    assert even_quotas(10, [1, 2, 3], 100) == {1: 10, 2: 45, 3: 45}
    assert even_quotas(10, [3, 4], 101) == {3: 51, 4: 50}
    assert even_quotas(10, [], 5) == {}
    with pytest.raises(ValueError, match="between 0 and n"):
        even_quotas(10, [11], 5)


CLASSES = st.lists(st.tuples(st.sampled_from([0.5, 1.0, 1.5, 7.0]), st.integers(0, 60)), max_size=8)


@settings(max_examples=150, deadline=None)
@given(CLASSES, st.integers(0, 300))
def test_allocation_is_exact_capped_and_grows(classes, total):
    weights = [weight for weight, _ in classes]
    capacities = [capacity for _, capacity in classes]
    counts = allocate(weights, capacities, total)
    assert sum(counts) == min(total, sum(capacities))
    more = allocate(weights, capacities, total + 1)
    for count, larger, capacity in zip(counts, more, capacities, strict=True):
        assert 0 <= count <= larger <= capacity
    # Webster: no sample handed out is due later than one still waiting.
    given_out = [(c - 0.5) / w for c, w in zip(counts, weights, strict=True) if c]
    waiting = [
        (c + 0.5) / w for c, w, cap in zip(counts, weights, capacities, strict=True) if c < cap
    ]
    if given_out and waiting:
        assert max(given_out) <= min(waiting) + 1e-9


def test_allocation_of_astronomic_capacities():
    assert allocate([1.0, 1.0], [math.comb(128, 64), 3], 1003) == [1000, 3]
    with pytest.raises(ValueError, match="positive"):
        allocate([0.0], [1], 1)
    with pytest.raises(ValueError, match="at least 0"):
        allocate([1.0], [1], -1)
