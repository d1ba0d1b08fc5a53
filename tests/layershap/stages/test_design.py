"""Designs in rounds: chosen from what is measured, the same however often a run was stopped."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from cluster import Ledger
from layershap.errors import UserError
from layershap.runs.config_file import read_config
from layershap.runs.design import joined, read_design, read_rounds
from layershap.runs.directory import RunDirectory
from layershap.runs.plan import make_plan
from layershap.runs.workspace import open_workspace
from layershap.stages.choosing import next_round
from layershap.stages.measure import measure
from layershap.terminal.console import Console
from sampling import keys
from tests.support.command_line import call
from tests.support.refusals import refused
from tests.support.tiny_run import OPTIONS

BUDGET = 24


def opened(run, **changes):
    """The workspace of a run directory, with some options changed."""
    directory = RunDirectory(run)
    config = read_config(directory.config).changed(**changes)
    return open_workspace(config, directory, Console(quiet=True))


@pytest.fixture(scope="module")
def everything(checkpoint, tmp_path_factory, ray_address):
    """A directory in whose ledger all coalitions are, so that tests need not measure again."""
    model, text = checkpoint
    run = tmp_path_factory.mktemp("design") / "all"
    status, _, err = call(
        "measure", model, "--calibration", text, "-o", run, "--budget", 99, *OPTIONS
    )
    assert status == 0, err
    assert not (run / "design.json").exists(), "there is nothing to choose"
    return run


@pytest.fixture(scope="module")
def measured(everything, checkpoint):
    """A directory in which the first stage has run, and what it said."""
    model, text = checkpoint
    run = shutil.copytree(everything, everything.parent / "run")
    status, _, err = call(
        "measure", model, "--calibration", text, "-o", run, "--budget", BUDGET, *OPTIONS
    )
    assert status == 0, err
    return run, err


@pytest.fixture
def run(measured, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(measured[0], tmp_path / "run")


def forget(run, rows, *, non_finite=False):
    """Take measurements out of the ledger, or make them ones without a finite loss."""
    with Ledger(run / "ledger.sqlite") as ledger:
        campaign = ledger.campaign("calibration")
        with ledger.transaction() as db:
            for key in keys(rows):
                db.execute("DELETE FROM measurements WHERE key = ?", (key,))
        if non_finite:
            nothing = {c.name: np.full((len(rows), c.width), np.nan) for c in campaign.columns}
            campaign.record(rows, nothing)


def keep_rounds(run, count):
    """Make `design.json` what it was after some rounds; returns the rows that it lost."""
    content = json.loads((run / "design.json").read_text())
    lost = [row for r in content["rounds"][count:] for row in r["coalitions"]]
    content["rounds"] = content["rounds"][:count]
    (run / "design.json").write_text(json.dumps(content))
    return np.array([[digit == "1" for digit in row] for row in lost])


def again(run, **changes):
    """Measure in a directory once more; returns the design and its utilities."""
    with opened(run, **changes) as work:
        measure(work)
        rows = read_design(work.recorded)
        return rows, work.campaign("calibration").read(rows).utilities


def test_a_part_of_the_design_is_chosen_after_the_opening(measured):
    run, err = measured
    with opened(run) as work:
        plan = make_plan(work.config, 5)
        rounds = read_rounds(work.recorded, plan)
        rows = read_design(work.recorded)
    assert [r.kind for r in rounds] == ["opening", *["chosen"] * (len(rounds) - 1)]
    assert len(rounds) > 1
    np.testing.assert_array_equal(rounds[0].coalitions, plan.opening)
    assert len({*keys(rows)}) == len(rows) == plan.size == 20
    assert len(plan.opening) == 12
    assert f"round 2: {len(rounds[1].coalitions)} sets chosen where they tell most" in err
    assert "12 of 20 sets are in the ledger already" in err


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_a_run_that_ended_anywhere_goes_the_same_way(measured, run, rounds):
    before = (run / "design.json").read_text()
    expected = again(measured[0])
    last = keep_rounds(run, 1)
    if rounds == 0:  # before anything was chosen, and with a hole in the opening
        (run / "design.json").unlink()
        forget(run, expected[0][5:7])
    if rounds == 2:  # in the middle of a round
        (run / "design.json").write_text(before)
        forget(run, last[: len(last) // 2])
    with opened(run) as work, pytest.raises(UserError, match="of the design's 20 sets") as e:
        read_design(work.recorded)
    assert "\n" not in str(e.value)
    for found, wanted in zip(again(run), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (run / "design.json").read_text() == before


def test_a_fixed_design_is_decided_beforehand(everything, checkpoint, tmp_path):
    model, text = checkpoint
    run = shutil.copytree(everything, tmp_path / "fixed")
    status, _, err = call(
        "measure", model, "--calibration", text, "-o", run, "--budget", BUDGET, *OPTIONS,
        "--design", "fixed",
    )  # fmt: skip
    assert status == 0, err
    assert "round" not in err
    assert not (run / "design.json").exists()
    with opened(run) as work:
        rows = read_design(work.recorded)
        np.testing.assert_array_equal(rows, make_plan(work.config, 5).design)
    (run / "run.toml").write_text((run / "run.toml").read_text().replace('"fixed"', '"adaptive"'))
    with opened(run) as work:  # as runs were before designs had rounds
        np.testing.assert_array_equal(read_design(work.recorded), rows)


def test_a_larger_budget_goes_on_from_the_design(run):
    with opened(run) as work:
        before = read_design(work.recorded)
    rows, _ = again(run, budget=30)
    assert len(rows) == 24
    np.testing.assert_array_equal(rows[:20], before)
    with opened(run, budget=30) as work:
        plan = make_plan(work.config, 5)
    assert {*keys(plan.opening)} <= {*keys(rows)}
    smaller, _ = again(run, budget=BUDGET)
    assert {*keys(smaller)} == {*keys(before)}, "the same budget gives the same design again"


def test_another_seed_begins_anew(run):
    rows, _ = again(run, seed=1)
    with opened(run, seed=1) as work:
        np.testing.assert_array_equal(rows[:12], make_plan(work.config, 5).opening)


def test_an_empty_model_without_a_finite_loss_keeps_nothing(run):
    keep_rounds(run, 1)
    forget(run, np.zeros((1, 5), dtype=bool), non_finite=True)
    rows, utilities = again(run)
    with opened(run) as work:
        plan = make_plan(work.config, 5)
        rounds = read_rounds(work.recorded, plan)
    with opened(run, value_of="loss") as work:
        fixed = next_round(work.recorded, plan, rounds[:1], plan.size)
    assert {r.kind for r in rounds[1:]} == {"chosen"}
    assert np.isfinite(utilities).sum() == len(rows) - 1
    assert fixed is not None
    assert fixed.kind == "fixed", "the raw loss has nothing to choose by"


def test_what_has_no_finite_loss_is_not_chosen_again(run):
    keep_rounds(run, 1)
    with opened(run) as work:
        plan = make_plan(work.config, 5)
        bad = joined(read_rounds(work.recorded, plan), 5)[8:11]
    forget(run, bad, non_finite=True)
    rows, utilities = again(run)
    assert len({*keys(rows)}) == len(rows) == plan.size
    assert np.isfinite(utilities).sum() == len(rows) - 3
    with opened(run) as work:
        rounds = read_rounds(work.recorded, plan)
        everything = next_round(work.recorded, plan, rounds, 32)
        assert everything is not None
        assert not {*keys(everything.coalitions)} & {*keys(rows)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: "{", "damaged"),
        (lambda c: "[]", "damaged"),
        (lambda c: json.dumps({**c, "rounds": [{"number": 1}]}), "rounds.0.kind"),
        (lambda c: json.dumps(c).replace("11111", "1111x"), "must be 5 characters"),
        (lambda c: json.dumps({**c, "rounds": c["rounds"][1:]}), "numbered"),
        (lambda c: json.dumps(c).replace('"opening"', '"guessed"'), "guessed"),
        (lambda c: json.dumps({**c, "fingerprint": "0123"}), "fingerprint 0123"),
    ],
)
def test_a_damaged_file_is_one_line(run, change, said):
    content = json.loads((run / "design.json").read_text())
    (run / "design.json").write_text(change(content))
    line = refused("fit", run)
    assert "design.json" in line
    assert said in line
    assert "run again" in line


def test_stages_wait_for_the_design(run):
    keep_rounds(run, 1)
    assert "12 of the design's 20 sets are measured" in refused("fit", run)


def test_values_go_on_until_they_are_sure_enough_or_say_what_it_takes(run):
    status, _, err = call("fit", run)
    assert status == 0, err
    status, out, err = call("values", run, "--target-se", 1000)
    assert status == 0, err
    assert "is not reached" not in err
    assert "Shapley values of retention" in out
    status, _, err = call("values", run, "--target-se", "1e-12", "--budget", 26)
    assert status == 0, err
    assert "--target-se 1e-12 is not reached with 26 sets" in err
    with opened(run) as work:
        plan = make_plan(work.config, 5)
        assert len(joined(read_rounds(work.recorded, plan), 5)) == 26
        assert len(read_design(work.recorded)) == plan.size == 20
    assert "--target-se" in refused("values", run, "--budget", 26)
