"""Players and slots: the partition of a model, and how people name its parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoder.players import Roster, Unit, make_roster


@st.composite
def rosters(draw) -> Roster:
    depth = draw(st.integers(1, 12))
    kind = draw(st.sampled_from(["layers", "sublayers", f"blocks:{draw(st.integers(1, depth))}"]))
    names = make_roster(kind, depth).names
    protect = draw(st.lists(st.sampled_from(names), unique=True, max_size=len(names) - 1))
    return make_roster(kind, depth, protect)


def halves(unit: Unit) -> list[tuple[int, str]]:
    parts = ["attention", "mlp"] if unit.part == "layer" else [unit.part]
    return [(unit.layer, part) for part in parts]


@given(rosters())
def test_slots_part_the_model_in_depth_order(roster: Roster):
    seen = [half for slot in roster.slots for unit in slot.units for half in halves(unit)]
    assert seen == [(layer, part) for layer in range(roster.depth) for part in ("attention", "mlp")]
    assert [s.player for s in roster.slots if s.player is not None] == [*range(len(roster.names))]
    assert tuple(s.name for s in roster.slots if s.player is not None) == roster.names
    assert tuple(s.name for s in roster.slots if s.player is None) == roster.protected


@given(rosters(), st.data())
def test_names_go_round(roster: Roster, data: st.DataObject):
    assert make_roster(roster.kind, roster.depth, ",".join(roster.protected)) == roster
    wanted = data.draw(st.sets(st.sampled_from(range(len(roster.names)))))
    assert roster.find(",".join(roster.names[i] for i in wanted)) == tuple(sorted(wanted))


@given(rosters(), st.data())
def test_what_is_removed_and_what_is_kept_agree(roster: Roster, data: st.DataObject):
    removed = data.draw(st.sets(st.sampled_from(range(len(roster.names)))))
    coalition = np.array([[i not in removed for i in range(len(roster.names))]])
    kept = roster.slots_kept(coalition)
    runs = {
        half
        for slot, runs in zip(roster.slots, kept[0], strict=True)
        if runs
        for unit in slot.units
        for half in halves(unit)
    }
    layers, partly = roster.removed_layers([*removed]), roster.removed_halves([*removed])
    gone = {(layer, part) for layer in layers for part in ("attention", "mlp")}
    gone |= {(unit.layer, unit.part) for unit in partly}
    assert len(gone) == 2 * len(layers) + len(partly)
    assert gone | runs == {(i, p) for i in range(roster.depth) for p in ("attention", "mlp")}
    assert not gone & runs


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("layers", ("L0", "L1", "L2", "L3", "L4", "L5", "L6")),
        ("blocks:3", ("L0-2", "L3-5", "L6")),
        ("blocks:1", ("L0", "L1", "L2", "L3", "L4", "L5", "L6")),
        ("blocks:7", ("L0-6",)),
    ],
)
def test_names(kind, names):
    assert make_roster(kind, 7).names == names


def test_sublayer_names_and_protection():
    roster = make_roster("sublayers", 3, "0,L2.mlp")
    assert roster.names == ("L1.attn", "L1.mlp", "L2.attn")
    assert roster.protected == ("L0.attn", "L0.mlp", "L2.mlp")
    assert roster.removed_layers([0, 1, 2]) == (1,)
    assert roster.removed_halves([0, 1, 2]) == (Unit(2, "attention"),)
    kept = roster.slots_kept(np.array([[False, True, False]]))
    assert kept.tolist() == [[True, True, False, True, False, True]]


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("layers", "4,6", (4, 6)),
        ("layers", "0-3, L6", (0, 1, 2, 3, 6)),
        ("layers", "L1-L2", (1, 2)),
        ("layers", "", ()),
        ("sublayers", "L4.attn,1", (2, 3, 8)),
        ("sublayers", "L0-1", (0, 1, 2, 3)),
        ("blocks:3", "L3-5", (1,)),
        ("blocks:3", "0-2,6", (0, 2)),
        ("blocks:3", "0-5", (0, 1)),
        ("blocks:3", "5,3,4", (1,)),
        ("blocks:3", "L3-5,4", (1,)),
    ],
)
def test_find(kind, text, found):
    assert make_roster(kind, 7).find(text) == found


@pytest.mark.parametrize(
    ("kind", "protect", "text", "message"),
    [
        ("layers", "", "7", "'7': no such layer; layers are 0 to 6"),
        ("layers", "", "5-2", "runs backwards"),
        ("layers", "0", "0-2", "L0 is protected"),
        ("sublayers", "L0.attn", "0", "L0.attn is protected"),
        ("sublayers", "", "L4.atn", "the nearest name is 'L4.attn'"),
        ("sublayers", "", "head", "players are L0.attn to L6.mlp and layers 0 to 6$"),
        ("blocks:3", "", "4", "layer 4 is part of player L3-5; give the whole of L3-5"),
        ("blocks:3", "", "2-5", "layer 2 is part of player L0-2"),
    ],
)
def test_find_says_what_is_wrong(kind, protect, text, message):
    roster = make_roster(kind, 7, protect)
    with pytest.raises(ValueError, match=message) as caught:
        roster.find(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "protect", "message"),
    [
        (
            "sub",
            "",
            "--players sub: unknown; choose layers, sublayers or blocks:K with K from 1 to 7",
        ),
        ("blocks:", "", "--players blocks:: unknown"),
        ("blocks:-1", "", "--players blocks:-1: unknown"),
        ("blocks:0", "", "K must be from 1 to 7"),
        ("blocks:8", "", "K must be from 1 to 7"),
        ("layers", "0-6", "leaves no player in the game"),
        ("layers", "9", "--protect '9': no such layer"),
        ("blocks:2", "1", "--protect '1': layer 1 is part of player L0-1"),
    ],
)
def test_rosters_that_cannot_be(kind, protect, message):
    with pytest.raises(ValueError, match=message):
        make_roster(kind, 7, protect)


def test_wrong_rows_and_indices():
    roster = make_roster("layers", 3)
    with pytest.raises(ValueError, match=r"boolean array \[B, 3\]"):
        roster.slots_kept(np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="players are 0 to 2"):
        roster.removed_layers([3])
