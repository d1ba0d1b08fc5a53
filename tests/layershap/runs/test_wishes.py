"""Wishes that no run can fulfil are refused at once, without torch; all others are let through."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from decoder import find_stack
from layershap.errors import UserError
from layershap.runs.config import RunConfig
from layershap.runs.config_file import checked_config
from layershap.runs.directory import RunDirectory
from layershap.runs.wishes import refuse_impossible
from tests.support.refusals import refused
from tests.support.tiny_models import tiny_model

BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "jax", "ray"):
            raise AssertionError(f"{name} is imported")
sys.meta_path.insert(0, Block())
from layershap.__main__ import main
main()
"""


def without_torch(*arguments):
    """Exit status and standard error of a command in a process where torch cannot be imported."""
    typed = [sys.executable, "-c", BLOCKED, *map(str, arguments)]
    done = subprocess.run(typed, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("options", "start"),
    [
        (("--max-params", "1"), "--max-params 1: "),
        (("--max-params", "0.1M", "--count", "1-2"), "--max-params 100000: "),
        (("--max-params", "six"), "--max-params six: must be a number, such as 6e9, 6B or 500M"),
        (("--min-speedup", "50"), "--min-speedup 50: "),
        (("--min-speedup", "1.6", "--count", "1-4"), "--min-speedup 1.6: 8 of 12 layers"),
        (("--utility", "nl"), "--utility nl: "),
        (("--utility", "choices:/no/file"), "task /no/file: "),
        (("--players", "halves"), "--players halves: "),
        (("--players", "blocks:0"), "--players blocks:0: "),
        (("--protect", "x"), "--protect 'x': "),
        (("--count", "12"), "--count 12: "),
        (("--count", "one"), "--count one: "),
        (("--budget", "3"), "--budget 3: "),
        (("--at-most", "13"), "--at-most 13: "),
        (("--calibration", "/no/text"), "text /no/text: "),
        (("--heldout", "/"), "text /: is a directory"),
    ],
)
def test_before_torch_is_imported(options, start, tmp_path):
    status, err = without_torch("run", "-o", tmp_path / "run", *options)
    assert status == 2, err
    assert err.startswith(f"layershap: {start}"), err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["export", "repair"])
@pytest.mark.parametrize("players", ["abc", "99", "3-1"])
def test_malformed_sets_before_torch_is_imported(command, players, finished_run, tmp_path):
    to = ("--to", tmp_path / "x")
    status, err = without_torch(command, finished_run, "--remove", players, *to)
    assert status == 2, err
    assert err.startswith(f"layershap: --remove {players}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"max_params": "2.9M"},
        {"max_params": 3.2e6, "count": "3"},
        {"min_speedup": 11.9},
        {"min_speedup": 1.49, "count": "1-4"},
        {"players": "sublayers", "count": "23"},
        {"players": "blocks:5", "protect": "0-4", "count": "1"},
        {"utility": ("kl", "nll")},
        {"model": "some/hub-id", "count": "60", "max_params": "6B"},
    ],
)
def test_what_may_be_possible_is_let_through(settings, tmp_path):
    refuse_impossible(checked_config(settings), RunDirectory(tmp_path / "run"))


@pytest.mark.parametrize(("text", "number"), [("6B", 6e9), ("500m", 5e8), ("6e9", 6e9), (3, 3.0)])
def test_sizes_are_understood_everywhere(text, number):
    assert checked_config({"max_params": text}).search.max_params == number
    assert RunConfig.of(max_params=text).search.max_params == number


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3_moe", "gemma3"])
def test_the_least_that_can_remain_is_what_remains(family, tmp_path):
    model = tiny_model(family)
    model.save_pretrained(tmp_path / "tiny")
    layers = find_stack(model).layers
    sizes = sorted(sum(p.numel() for p in layer.parameters()) for layer in layers)
    least = model.num_parameters() - sum(sizes[1:])
    given = {"model": str(tmp_path / "tiny"), "budget": 100}
    directory = RunDirectory(tmp_path / "run")
    refuse_impossible(checked_config({**given, "max_params": least}), directory)
    with pytest.raises(UserError) as caught:
        refuse_impossible(checked_config({**given, "max_params": least - 1}), directory)
    assert f"{least:,} parameters remain" in str(caught.value)


def test_the_run_directory_of_another_model(finished_run, tmp_path):
    tiny_model("llama", num_hidden_layers=3).save_pretrained(tmp_path / "other")
    copy = shutil.copytree(finished_run, tmp_path / "run")
    line = refused("run", tmp_path / "other", "-o", copy)
    assert line.option == "--output"
    assert "name another directory" in line.remedy
    status, err = without_torch("measure", tmp_path / "other", "-o", copy)
    assert status == 2, err
    assert str(line) in err
