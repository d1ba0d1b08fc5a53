"""A run directory of somebody else: what it asks for is not done because it says so."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from layershap import trust
from layershap.runs.config import RunConfig
from layershap.runs.config_file import to_toml
from tests.support.command_line import call
from tests.support.refusals import refused

HOSTILE = """
from pathlib import Path

Path({marker!r}).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def hostile(checkpoint, tmp_path):
    """A run directory whose model has code of its own; the code leaves a mark when it is run."""
    model, marker = tmp_path / "model", tmp_path / "marker"
    shutil.copytree(checkpoint[0], model)
    (model / "own.py").write_text(HOSTILE.format(marker=str(marker)))
    settings = json.loads((model / "config.json").read_text())
    settings |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"},
    }
    (model / "config.json").write_text(json.dumps(settings))
    run = tmp_path / "run"
    run.mkdir()
    config = RunConfig.of(
        model=str(model), trust_remote_code=True, calibration=(str(checkpoint[1]),)
    )
    (run / "run.toml").write_text(to_toml(config))
    return run, marker


@pytest.mark.parametrize(
    "command",
    [
        ("verify",),
        ("baselines",),
        ("export", "--remove", "1", "--to", "out"),
        ("repair", "--remove", "1"),
    ],
)
def test_code_that_only_the_directory_asks_for_is_not_run(hostile, command):
    run, marker = hostile
    line = refused(command[0], run, *command[1:])
    assert "nobody typed" in line
    assert f"layershap trust {run}" in line
    assert not marker.exists()


def test_it_is_allowed_once_for_this_directory_and_these_wishes(hostile):
    run, _ = hostile
    status, said, _ = call("trust", run)
    assert status == 0
    assert "is now allowed to run the own code of model" in said
    trust._typed.clear()  # another process
    assert "was allowed" in call("trust", run)[1]
    assert "nobody typed" not in call("verify", run)[2]
    other = run / "run.toml"
    other.write_text(other.read_text().replace("/model", "/other-model"))
    assert "nobody typed" in refused("verify", run)
    copy = run.with_name("copy")
    shutil.copytree(run, copy)
    assert "nobody typed" in refused("verify", copy)


def test_a_cluster_is_connected_to_only_where_it_was_typed(checkpoint, tmp_path):
    config = RunConfig.of(
        model=str(checkpoint[0]), calibration=(str(checkpoint[1]),), address="10.0.0.1:6379"
    )
    (tmp_path / "run.toml").write_text(to_toml(config))
    assert "connect to the cluster at 10.0.0.1:6379" in refused("verify", tmp_path)


def test_a_harmless_directory_needs_no_leave(tmp_path):
    (tmp_path / "run.toml").write_text(to_toml(RunConfig()))
    assert "asks for nothing" in call("trust", tmp_path)[1]


def test_a_record_that_cannot_be_read_or_written_allows_nothing(hostile, tmp_path, monkeypatch):
    run, _ = hostile
    trust._typed.clear()
    (tmp_path / "state").write_text("a file where a directory should be")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert "nobody typed" in refused("verify", run)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "layershap").mkdir()
    for text in ("null", "[1]", "[" * 100_000, '{"x": 3}', "\0"):
        (tmp_path / "layershap" / "trusted.json").write_text(text)
        assert "nobody typed" in refused("verify", run)


def test_an_empty_configuration_is_no_run(tmp_path):
    (tmp_path / "run.toml").write_text("")
    for command in (("status",), ("report",), ("export", "--remove", "1", "--to", tmp_path / "x")):
        assert "run.toml: is empty" in refused(command[0], tmp_path, *command[1:])


def test_a_checkpoint_that_was_replaced_is_not_exported_without_a_word(finished_run, tmp_path):
    source, model, run = finished_run.parent / "tiny", tmp_path / "model", tmp_path / "run"
    shutil.copytree(finished_run, run)
    shutil.copytree(source, model)
    text = (run / "run.toml").read_text().replace(str(source), str(model))
    (run / "run.toml").write_text(text)
    status, _, err = call("export", run, "--remove", "1", "--to", tmp_path / "same")
    assert status == 0, err
    weights = load_file(model / "model.safetensors")
    name = next(name for name in weights if "down_proj" in name)
    weights[name][0, 0] += 0.5
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    line = refused("export", run, "--remove", "1", "--to", tmp_path / "other")
    assert "are not those that" in line
    assert not (tmp_path / "other").exists()
    to = tmp_path / "anyway"
    status, _, err = call("export", run, "--remove", "1", "--to", to, "--anyway")
    assert status == 0
    assert "nothing that the run says was measured on what is written" in err
    assert (to / "model.safetensors").exists()
