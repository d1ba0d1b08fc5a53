"""`layershap recommend`: one verified set, the reason, and every way of not finding one."""

from __future__ import annotations

import json

import pytest

from layershap.errors import UserError
from layershap.results.frontier import points
from layershap.results.limits import Limits
from layershap.results.recommend import recommend
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from tests.support.command_line import call
from tests.support.recommendation_samples import ROWS, content, verified
from tests.support.refusals import refused

DROPPED = [(own, [rival for rival in others if rival[-1] is None]) for own, others in ROWS]
"""The same without merged models."""

DROPPED = [(own, [rival for rival in others if rival[-1] is None]) for own, others in ROWS]
"""The same without merged models."""


def choose(rows=DROPPED, **limits):
    return recommend(points(verified(content(rows))), Limits(**limits))


@pytest.mark.parametrize(
    ("limits", "removed"),
    [
        ({"max_loss": 0.02}, (4,)),
        ({"max_loss": 0.055}, (2, 4)),
        ({"max_loss": 0.055, "sure": True}, (4,)),
        ({"max_loss": 9}, (1, 2, 4)),
        ({"max_perplexity_ratio": 1.03}, (4,)),
        ({"max_perplexity_ratio": 1.03, "max_loss": 0.9}, (4,)),
        ({"min_speedup": 1.05}, (4,)),
        ({"min_speedup": 1.21}, (2, 4)),
        ({"min_speedup": 1.215, "sure": True}, (1, 2, 4)),
        ({"min_prefill_speedup": 1.3}, (1, 2, 4)),
        ({"max_params": 800}, (2, 4)),
        ({"max_params": 799}, (1, 2, 4)),
        ({"max_memory": 850 / 2**30}, (2, 4)),
        ({"max_memory": 850 / 2**30, "min_speedup": 1.3, "max_loss": 0.3}, (1, 2, 4)),
    ],
)
def test_the_set_that_keeps_to_the_limits(limits, removed):
    answer = choose(**limits)
    assert answer.point.removed == removed
    assert answer.point.method == "layershap"


@pytest.mark.parametrize(
    "limits",
    [
        {"max_loss": 0.001},
        {"min_speedup": 3},
        {"min_prefill_speedup": 2},
        {"max_params": 5},
        {"max_memory": 1e-9},
        {"max_perplexity_ratio": 1.0},
        {"max_loss": 0.03, "min_speedup": 1.2},
        {},
    ],
)
def test_what_no_set_reaches_names_the_nearest(limits, wording):
    with pytest.raises(UserError) as caught:
        choose(**limits)
    options = [f"--{name.replace('_', '-')}" for name in limits]
    assert caught.value.option == (" and ".join(options) or "recommend")
    typed = (f"{name} {value}" for name, value in zip(options, limits.values(), strict=True))
    wording(str(caught.value), "recommend", "(the samples)", *typed)


def test_reasons_say_the_loss_and_what_more_would_cost():
    reason = choose(max_loss=0.055).reason
    assert "fastest verified set" in reason
    assert "+0.0500 (0.0400 to 0.0600) stays within 0.055" in reason
    assert "The best of 3 layers costs +0.2000" in reason
    assert "Nothing larger than 3 layers was verified" in choose(max_loss=1).reason
    reason = choose(min_speedup=1.21).reason
    assert "decodes 1.22x as fast (wanted 1.21x)" in reason
    assert "least cost" in reason


def test_a_larger_set_that_is_no_faster_is_not_taken():
    rows = [(([4], 0.02, 1.10), []), (([2, 4], 0.05, 1.09), [])]
    answer = choose(rows, max_loss=0.1)
    assert answer.point.removed == (4,)
    assert "and is no faster" in answer.reason


def test_a_better_baseline_is_taken_and_named():
    rows = [(([4], 0.05, 1.1), [("greedy", [3], 0.02, 1.1, None)])]
    answer = choose(rows, max_params=900)
    assert answer.point.method == "greedy"
    assert "the set of greedy, not of the search" in answer.notes[0]
    assert "4, costs +0.0500" in answer.notes[0]
    alone = choose(rows, max_loss=0.03)
    assert "no set of the search keeps to the limits" in alone.notes[0]


def test_a_baseline_that_is_ahead_by_noise_only_is_told():
    rows = [(([4], 0.02, 1.10), [("greedy", [3], 0.05, 1.12, None)])]
    answer = choose(rows, min_speedup=1.11)
    assert answer.point.method == "greedy"
    assert "the search's 4 is as large and costs less, +0.0200" in answer.notes[0]
    assert "within the noise" in answer.notes[0]


def test_a_better_merged_model_is_taken_and_said_to_be_one():
    answer = choose(ROWS, max_params=700)
    assert (answer.point.method, answer.point.removed) == ("merging", (3, 4, 5))
    assert "the set of merging, not of the search" in answer.notes[0]
    assert answer.notes[1] == "Its layers are merged into earlier ones, not dropped."


def test_what_the_whole_model_does_already_is_said():
    assert "whole model keeps to these limits" in choose(max_params=5000).notes[0]
    assert choose(max_params=900).notes == ()


def test_without_speeds_the_smallest_set_is_named():
    whole = content(ROWS)
    for item in (whole["dense"], *whole["recommendations"]):
        del item["speed"]
        for rival in item.get("baselines", ()):
            del rival["speed"]
    answer = recommend(points(verified(whole)), Limits(max_loss=0.055))
    assert answer.point.removed == (2, 4)
    assert answer.reason.startswith("smallest")
    for limits in (Limits(min_speedup=1.1), Limits(max_memory=1.0)):
        with pytest.raises(UserError, match="was not measured; run layershap verify again"):
            recommend(points(verified(whole)), limits)


def test_being_sure_needs_intervals():
    whole = content([(([4], 0.02, 1.1), [])])
    whole["recommendations"][0].update(difference_lower=None, difference_upper=None)
    with pytest.raises(UserError, match="for sure: no set has an interval"):
        recommend(points(verified(whole)), Limits(max_loss=1.0, sure=True))
    assert recommend(points(verified(whole)), Limits(max_loss=1.0)).point.removed == (4,)


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    directory.write_config(RunConfig())
    found = content(ROWS)
    found["recommendations"][1]["warnings"] = ["perplexity hardly changes, but piqa falls"]
    RECOMMENDATIONS.write(directory.path, verified(found))
    return directory.path


def test_the_command_prints_set_reason_and_export(run):
    status, out, err = call("recommend", run, "--max-loss", "0.055")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("remove 2,4: fastest verified set")
    assert lines[1] == "note: perplexity hardly changes, but piqa falls"
    assert lines[-1] == f"Export: layershap export {run} --remove 2,4 --to {run}-without-2-4"


def test_a_merged_model_is_exported_by_its_method(run):
    status, out, err = call("recommend", run, "--max-params", "700")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("merge 3,4,5: least cost of the verified sets")
    command = f"layershap export {run} --count 3 --method merging --to {run}-merging-3"
    assert lines[-1] == f"Export: {command}"
    status, out, err = call("recommend", run, "--max-params", "700", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["merged"], answer["export"]) == (True, command)


@pytest.mark.parametrize(
    ("size", "removed"), [("0.8K", [2, 4]), ("9e2", [4]), ("0.0000007B", [3, 4, 5])]
)
def test_sizes_are_read_as_people_write_them(run, size, removed):
    status, out, err = call("recommend", run, "--max-params", size, "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert answer["removed"] == removed
    assert answer["loss"]["lower"] < answer["loss"]["value"] < answer["loss"]["upper"]
    assert {"reason", "notes", "warnings", "export", "method", "decode_ratio"} <= set(answer)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-loss", "-1"),
        ("--max-loss", "nan"),
        ("--max-params", "six"),
        ("--max-params", "0"),
        ("--max-perplexity-ratio", "0.9"),
        ("--min-speedup", "3"),
        (),
    ],
)
def test_bad_limits_are_one_line(run, arguments, wording):
    line = refused("recommend", run, *arguments)
    assert line.option == (arguments[0] if arguments else "recommend")
    wording(line)


def test_a_run_that_was_not_verified_is_named(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    directory.write_config(RunConfig())
    status, _, err = call("recommend", directory.path, "--max-loss", "1")
    assert status == 2
    assert "run layershap verify" in err
