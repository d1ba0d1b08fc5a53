from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sampling import (
    distinct,
    empty,
    enumerate_all,
    from_keys,
    from_text,
    full,
    keys,
    lexicographic_order,
    pack,
    stream,
    to_text,
    unpack,
    without,
)

ROWS = st.tuples(st.integers(0, 30), st.integers(1, 130)).flatmap(
    lambda shape: hnp.arrays(np.bool_, shape)
)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_keys_come_back(rows):
    assert (from_keys(keys(rows), rows.shape[1]) == rows).all()
    assert len(set(keys(rows))) == len(distinct(rows))


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_distinct_keeps_first_seen_order(rows):
    expected = list(dict.fromkeys(keys(rows)))
    assert keys(distinct(rows)) == expected


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_lexicographic_order_is_the_order_of_tuples(rows):
    order = lexicographic_order(rows)
    expected = sorted(range(len(rows)), key=lambda i: rows[i].tolist())
    assert order.tolist() == expected


def test_lexicographic_order_visits_each_prefix_once():
    rows = stream(1, "rows").random((200, 9)) < 0.6
    ordered = distinct(rows)[lexicographic_order(distinct(rows))]
    for length in range(1, 10):
        prefixes = keys(ordered[:, :length])
        runs = 1 + sum(a != b for a, b in itertools.pairwise(prefixes))
        assert runs == len(set(prefixes))


def test_enumerate_all_holds_the_bits_of_the_row_number():
    table = enumerate_all(11)
    assert table.shape == (2048, 11)
    assert (table @ (1 << np.arange(11)) == np.arange(2048)).all()
    with pytest.raises(ValueError, match="at most 24"):
        enumerate_all(25)


def test_full_empty_without():
    assert full(4).tolist() == [True] * 4
    assert empty(4).tolist() == [False] * 4
    assert without(4, [1, 3]).tolist() == [True, False, True, False]
    with pytest.raises(ValueError, match="players are 0 to 3"):
        without(4, [4])
    with pytest.raises(ValueError, match="boolean array"):
        keys(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="2 bytes"):
        from_keys([b"ab"], 8)
    with pytest.raises(ValueError, match="beyond"):
        from_keys([b"\xff"], 7)


def test_streams_are_stable_and_apart():
    assert stream(7, "pairs", 3).integers(1 << 30, size=3).tolist() == PINNED
    draws = {
        stream(*name).integers(1 << 62)
        for name in [(7, "a"), (8, "a"), (7, "b"), (7, "a", 1), (7, "a", "1"), (7, "a1")]
    }
    assert len(draws) == 6
    with pytest.raises(ValueError, match="at least 0"):
        stream(-1, "a")


PINNED = [534327312, 91209552, 645364750]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 20])
def test_packed_and_text_forms_are_read_back(n):
    rows = np.random.default_rng(n).random((30, n)) < 0.5
    assert pack(rows).shape == (30, -(-n // 8))
    np.testing.assert_array_equal(unpack(pack(rows), n), rows)
    assert to_text(rows)[0] == "".join("1" if kept else "0" for kept in rows[0])
    np.testing.assert_array_equal(from_text(to_text(rows), n), rows)
    assert from_text([], n).shape == unpack(pack(rows[:0]), n).shape == (0, n)
    assert to_text(rows[:0]) == []


def test_forms_that_are_none_are_named_by_their_place():
    for texts in (["01", "012"], ["01", "0"], ["01", "0x"], ["01", "0\N{FULLWIDTH DIGIT ONE}"]):
        with pytest.raises(ValueError, match=r"texts\[1\]: must be 2 characters 0 or 1"):
            from_text(texts, 2)
    with pytest.raises(ValueError, match="row 1 keeps a player beyond the 2"):
        unpack(np.array([[3], [4]], dtype=np.uint8), 2)
    with pytest.raises(ValueError, match="9 players need 2 bytes"):
        unpack(np.zeros((1, 1), dtype=np.uint8), 9)
