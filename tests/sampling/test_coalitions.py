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
    full,
    keys,
    lexicographic_order,
    parse_players,
    stream,
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


@pytest.mark.parametrize(
    ("text", "players", "expected"),
    [
        ("0-3,5,7-11", 12, (0, 1, 2, 3, 5, 7, 8, 9, 10, 11)),
        (" 2 , 2,1 ", 3, (1, 2)),
        ("", 3, ()),
        ("attn-1,0", ["attn-0", "attn-1", "mlp-1"], (0, 1)),
        ("attn-1-mlp-1", ["attn-0", "attn-1", "mlp-1"], (1, 2)),
        ("1", ["2", "1", "0"], (1,)),
        ("0", ["2", "1", "0"], (2,)),
    ],
)
def test_parse_players(text, players, expected):
    assert parse_players(text, players) == expected


def test_parse_players_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"unknown player '12'; players are 0 to 11$"):
        parse_players("3,12", 12)
    with pytest.raises(ValueError, match=r"nearest name is 'attn\.3'"):
        parse_players("atn.3", ["attn.3", "mlp.7"])
    with pytest.raises(ValueError, match="backwards"):
        parse_players("5-2", 12)


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
