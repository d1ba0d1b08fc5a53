"""Kept repairs: written and read again, found by set and by what was asked for."""

from __future__ import annotations

from dataclasses import replace

from layershap.results.paired_results import PairedResult, RepairedCost
from layershap.results.repairs import REPAIRS, KeptRepair, Repairs, TriedMethod

GAIN = PairedResult(difference=-0.1, lower=-0.2, upper=-0.05)
COST = RepairedCost(
    difference=0.2, lower=0.1, upper=0.3, method="scalar", gain=GAIN, text="text", tokens=96,
    seconds=1.0,
)  # fmt: skip
ONE = KeptRepair(
    removed=(1, 3),
    names="1,3",
    asked="auto",
    tried=(TriedMethod(method="scalar", cost=0.2, seconds=0.5, notes=("few tokens",)),),
    fitted_tokens=64,
    compared_tokens=32,
    deleted=PairedResult(difference=0.3, lower=0.2, upper=0.4),
    cost=COST,
    edits=({"kind": "remove", "layer": 1},),
    patches="repairs/a.safetensors",
    stock=True,
    fitted_on="f",
    heldout="h",
)


def test_what_is_written_is_read(tmp_path):
    known = Repairs((ONE, replace(ONE, removed=(2,), patches=None)))
    REPAIRS.write(tmp_path, known)
    assert REPAIRS.read(tmp_path) == known


def test_a_method_that_could_not_be_fitted_has_no_cost(tmp_path):
    failed = TriedMethod(method="scalar", cost=float("nan"), seconds=0.1, notes=("why",))
    REPAIRS.write(tmp_path, Repairs((replace(ONE, tried=(failed,)),)))
    assert REPAIRS.read(tmp_path).repairs[0].tried[0].cost is None


def test_the_newest_of_a_set_is_found_and_replaces_its_like():
    other, again = replace(ONE, asked="fast"), replace(ONE, fitted_on="g")
    known = Repairs().added(ONE).added(other)
    assert known.of_set([3, 1], "h") == other
    assert known.of_set([3, 1], "h", "auto") == ONE
    assert known.of_set([3, 1], "other weights") is None
    assert known.added(again).repairs == (other, again)
