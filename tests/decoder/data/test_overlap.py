"""Passages that two token streams share are found wherever they stand."""

from __future__ import annotations

import numpy as np
import pytest

from decoder.data.overlap import shared_share


def shared_by_hand(text, other, window):
    """The same share by comparing every window with every other one."""
    seen = {tuple(other[i : i + window]) for i in range(len(other) - window + 1)}
    covered = np.zeros(len(text), dtype=bool)
    for i in range(len(text) - window + 1):
        if tuple(text[i : i + window]) in seen:
            covered[i : i + window] = True
    return covered.mean()


@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_the_share_is_that_of_comparing_every_pair_of_windows(window):
    rng = np.random.default_rng(window)
    for size in (6, 40, 200):
        text, other = rng.integers(0, 4, size), rng.integers(0, 4, 50)
        expected = shared_by_hand(text, other, min(window, size))
        assert shared_share(text, other, window) == pytest.approx(expected)


def test_equal_disjoint_and_partly_copied_texts():
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 50_000, 3000), rng.integers(0, 50_000, 2000)
    assert shared_share(one, one) == 1
    assert shared_share(one, two) == 0
    mixed = np.concatenate([two[:700], one[1234:1334], two[700:]])
    assert shared_share(mixed, one) == pytest.approx(100 / 2100)


def test_a_text_shorter_than_a_window_is_one_and_an_empty_one_shares_nothing():
    assert shared_share(np.array([3, 4]), np.array([1, 3, 4, 9])) == 1
    assert shared_share(np.array([4, 3]), np.array([1, 3, 4, 9])) == 0
    assert shared_share(np.array([], dtype=int), np.array([1])) == 0
