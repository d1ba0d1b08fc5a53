"""What a run keeps of repairs, and what it then says of the sets that it recommends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from layershap.results.paired_results import PairedResult, RepairedCost
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.repairs import REPAIRS, KeptRepair
from layershap.runs.directory import RunDirectory
from layershap.runs.kept_repairs import find_kept, keep
from tests.support.recommendation_samples import content

COST = RepairedCost(
    difference=0.05, lower=0.04, upper=0.06, method="sequential",
    gain=PairedResult(difference=-0.05, lower=-0.06, upper=-0.04),
    text="text", tokens=4096, seconds=1.0,
)  # fmt: skip
ONE = KeptRepair(
    removed=(2,),
    names="2",
    asked="auto",
    tried=(),
    fitted_tokens=2731,
    compared_tokens=1365,
    deleted=PairedResult(difference=0.1, lower=0.09, upper=0.11),
    cost=COST,
    edits=({"kind": "remove", "layer": 2},),
    patches=None,
    stock=True,
    fitted_on="0" * 32,
    heldout="toy",
)


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    rows = [(([2], 0.1, 1.1), []), (([2, 3], 0.3, 1.2), [])]
    RECOMMENDATIONS.write(directory.path, RECOMMENDATIONS.from_dict(content(rows)))
    return directory


def told(run):
    return [item.repair for item in RECOMMENDATIONS.read(run.path).recommendations]


def test_the_newest_repair_of_a_recommended_set_is_what_it_costs(run):
    keep(run, ONE, {})
    assert told(run) == [COST, None]
    newer = replace(ONE, asked="scalar", cost=replace(COST, difference=0.07, method="scalar"))
    keep(run, newer, {})
    assert told(run) == [newer.cost, None]
    assert find_kept(run, (2,), "toy") == newer


@pytest.mark.parametrize(
    "change", [{"heldout": "other weights"}, {"removed": (4,)}, {"stock": False}]
)
def test_other_repairs_change_no_recommendation(run, change):
    keep(run, replace(ONE, **change), {})
    assert told(run) == [None, None]
    assert len(REPAIRS.read(run.path).repairs) == 1


def test_what_no_stock_checkpoint_holds_is_found_only_when_asked_for(run):
    module = replace(ONE, asked="boundary", stock=False)
    keep(run, module, {})
    keep(run, ONE, {})
    assert find_kept(run, (2,), "toy") == ONE
    assert find_kept(run, (2,), "toy", "boundary") is None
    assert find_kept(run, (2,), "toy", stock=False) == module
