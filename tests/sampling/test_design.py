from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import anchors, campaign_design, chain, chains, keys, paired, permutations


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 80), st.integers(0, 400), st.integers(0, 5))
def test_pairs_are_distinct_complements(n, total, seed):
    rows = paired(n, total, seed)
    assert len(rows) == min(total - total % 2, 2**n - 2)
    assert (rows[0::2] == ~rows[1::2]).all()
    assert len(set(keys(rows))) == len(rows)
    sizes = rows.sum(axis=1)
    assert not ((sizes == 0) | (sizes == n)).any()
    shorter = paired(n, total // 2, seed)
    assert (rows[: len(shorter)] == shorter).all()
    assert (rows == paired(n, total, seed)).all()


def test_pairs_have_equal_counts_per_size_and_enumerate_small_sizes():
    counts = np.bincount(paired(10, 300, 0).sum(axis=1), minlength=11)
    assert counts[[0, 10]].tolist() == [0, 0]
    assert counts[[1, 9]].tolist() == [10, 10]
    assert counts[2:9].min() >= 39
    assert counts[2:9].max() <= 41
    full_design = paired(7, 10_000, 0)
    assert np.bincount(full_design.sum(axis=1)).tolist()[1:] == [
        math.comb(7, s) for s in range(1, 7)
    ]


@pytest.mark.parametrize("n", [5, 6, 7])
def test_pairs_are_uniform_inside_a_size(n):
    rows = np.concatenate([paired(n, 22, seed) for seed in range(300)])
    for size in range(1, n):
        kept = rows[rows.sum(axis=1) == size].mean(axis=0)
        assert np.abs(kept - size / n).max() < 0.08


def test_anchors():
    rows = anchors(4)
    assert rows[0].all()
    assert not rows[1].any()
    assert (rows[2:] == ~np.eye(4, dtype=bool)).all()
    assert len(anchors(1)) == 2
    assert len(anchors(2)) == 4
    with pytest.raises(ValueError, match="at least 1"):
        anchors(0)


def test_permutations_and_chains():
    orders = permutations(6, 7, seed=2)
    assert (np.sort(orders, axis=1) == np.arange(6)).all()
    assert (orders[0:6:2] == orders[1:6:2, ::-1]).all()
    assert (permutations(6, 3, seed=2) == orders[:3]).all()
    free = permutations(6, 2000, seed=2, antithetic=False)
    assert np.abs((free == 0).mean(axis=0) - 1 / 6).max() < 0.04
    walk = chain(np.array([2, 0, 1]))
    assert walk.tolist() == [
        [False, False, False],
        [False, False, True],
        [True, False, True],
        [True, True, True],
    ]
    assert chains(orders).shape == (7, 7, 6)
    with pytest.raises(ValueError, match="permutations of 0 to 2"):
        chain(np.array([0, 0, 1]))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 11), st.data())
def test_campaigns_are_exact_distinct_and_nested(n, data):
    least = min(n + 2, 2**n)
    max_removed = data.draw(st.integers(1, n))
    budget = data.draw(st.integers(least, 2**n + 3))
    smaller = data.draw(st.integers(least, budget))
    design = campaign_design(n, budget, max_removed, seed=1)
    assert len(design) == len(set(keys(design.coalitions))) == min(budget, 2**n)
    assert (design.coalitions[: len(anchors(n))] == anchors(n)).all()
    assert design.origin.shape == (len(design),)
    assert set(design.origin) <= {"anchor", "paired", "stratified"}
    removed = (~design.coalitions[design.origin == "stratified"]).sum(axis=1)
    assert ((removed >= 2) & (removed <= max_removed)).all()
    part = campaign_design(n, smaller, max_removed, seed=1)
    assert set(keys(part.coalitions)) <= set(keys(design.coalitions))


@pytest.mark.parametrize(("n", "budget", "max_removed"), [(32, 2000, 12), (64, 6000, 21)])
def test_campaign_halves(n, budget, max_removed):
    design = campaign_design(n, budget, max_removed, seed=0)
    counts = {name: int((design.origin == name).sum()) for name in set(design.origin)}
    assert counts["anchor"] == n + 2
    assert abs(counts["paired"] - counts["stratified"]) <= 1
    removed = (~design.coalitions[design.origin == "stratified"]).sum(axis=1)
    per_stratum = np.bincount(removed, minlength=max_removed + 1)[2:]
    assert per_stratum.max() - per_stratum.min() <= 1


def test_campaign_is_uniform_inside_each_size():
    rows = np.concatenate([campaign_design(9, 90, 4, seed).coalitions for seed in range(200)])
    for size in range(1, 9):
        kept = rows[rows.sum(axis=1) == size].mean(axis=0)
        assert np.abs(kept - size / 9).max() < 0.06, size


def test_campaign_errors_name_the_minimum():
    with pytest.raises(ValueError, match="at least 10 coalitions"):
        campaign_design(8, 9, 4, seed=0)
    with pytest.raises(ValueError, match="between 1 and n"):
        campaign_design(8, 20, 9, seed=0)
