"""Sets as people give them to Python: one or many, numbers, names, text, coalitions."""

from __future__ import annotations

import numpy as np
import pytest

from decoder.players import make_roster
from layershap.api.sets import read_sets
from layershap.errors import UserError


def removed(roster, remove=None, keep=None):
    sets = read_sets(roster.names, roster.find, remove, keep)
    return [tuple(np.flatnonzero(~row).tolist()) for row in sets.rows], sets.many


LAYERS = make_roster("layers", 12)


@pytest.mark.parametrize(
    "given", [[4, 6], "4,6", ["L4", "L6"], (np.int64(4), 6), ["4", 6], {6, 4}, " 6 , 4", [4, 4, 6]]
)
def test_one_set_in_many_spellings(given):
    assert removed(LAYERS, given) == ([(4, 6)], False)


def test_many_sets():
    assert removed(LAYERS, [[4], [], (4, 6), ["0-2"]]) == (
        [(4,), (), (4, 6), (0, 1, 2)],
        True,
    )
    assert removed(LAYERS, np.array([[4, 6], [1, 2]])) == ([(4, 6), (1, 2)], True)


def test_nothing_removed_is_the_whole_model():
    assert removed(LAYERS, []) == ([()], False)
    assert removed(LAYERS, "") == ([()], False)


def test_ranges_and_keep():
    assert removed(LAYERS, "3-5") == ([(3, 4, 5)], False)
    assert removed(LAYERS, 7) == ([(7,)], False)
    assert removed(LAYERS, keep="0-9") == ([(10, 11)], False)
    rows = np.ones((2, 12), dtype=bool)
    rows[1, 3] = False
    assert removed(LAYERS, keep=rows) == ([(), (3,)], True)
    assert removed(LAYERS, keep=rows[1]) == ([(3,)], False)


def test_numbers_are_layers_as_on_the_command_line():
    halves = make_roster("sublayers", 4)
    assert removed(halves, [1]) == ([(2, 3)], False)
    assert removed(halves, ["L1.mlp", 3]) == ([(3, 6, 7)], False)
    protected = make_roster("layers", 6, "0")
    assert removed(protected, [4]) == ([(3,)], False)
    assert removed(make_roster("blocks:2", 6), [2, 3]) == ([(1,)], False)


@pytest.mark.parametrize(
    ("remove", "keep", "words"),
    [
        (None, None, "exactly one"),
        ([1], [2], "exactly one"),
        ([12], None, "no such layer"),
        (["L4.attn"], None, "unknown"),
        ([[4], 5], None, "a list of such lists"),
        (3.5, None, "float"),
        ([True], None, "boolean array"),
        ([[[1]]], None, "a list of such lists"),
        (np.ones(12, dtype=bool), None, "give them as keep"),
        (None, np.ones((1, 5), dtype=bool), "[12]"),
        (-1, None, "numbered from 0"),
        ([4, -6], None, "numbered from 0"),
        ("-1", None, "unknown"),
        (["4,6", "2,7"], None, "many as [[4, 6], [2, 7]]"),
        ({4: 6}, None, "dict"),
        (b"4", None, "bytes"),
        (None, np.ones((2, 12), dtype=int), "astype(bool)"),
        (None, [1, 0] * 6, "astype(bool)"),
        (None, [True] * 12, "boolean array"),
        (None, [np.True_] * 12, "boolean array"),
    ],
)
def test_what_is_no_set_is_refused_in_one_line(remove, keep, words):
    with pytest.raises(UserError, match=r"^(remove|keep)") as caught:
        removed(LAYERS, remove, keep)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_protected_layer_cannot_be_removed():
    with pytest.raises(UserError, match="protected"):
        removed(make_roster("layers", 6, "0"), [0])
