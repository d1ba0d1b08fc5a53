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
    ("remove", "keep"),
    [
        (None, None),
        ([1], [2]),
        ([12], None),
        (["L4.attn"], None),
        ([[4], 5], None),
        (3.5, None),
        ([True], None),
        ([[[1]]], None),
        (np.ones(12, dtype=bool), None),
        (None, np.ones((1, 5), dtype=bool)),
        (-1, None),
        ([4, -6], None),
        ("-1", None),
        (["4,6", "2,7"], None),
        ({4: 6}, None),
        (b"4", None),
        (None, np.ones((2, 12), dtype=int)),
        (None, [1, 0] * 6),
        (None, [True] * 12),
        (None, [np.True_] * 12),
    ],
)
def test_what_is_no_set_is_refused_in_one_line(remove, keep, wording):
    with pytest.raises(UserError) as caught:
        removed(LAYERS, remove, keep)
    given = {"remove": remove, "keep": keep}
    given = {name: value for name, value in given.items() if value is not None}
    assert caught.value.option == (next(iter(given)) if len(given) == 1 else "remove, keep")
    typed = (f"{name}={' '.join(repr(value).split())}" for name, value in given.items())
    wording(str(caught.value), "api", "12 layers,", *typed)


def test_a_protected_layer_cannot_be_removed():
    with pytest.raises(UserError, match="protected"):
        removed(make_roster("layers", 6, "0"), [0])
