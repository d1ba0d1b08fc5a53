"""`layershap repair`, and exports of what it fitted."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

import layershap
from decoder.recovery.modules import MATRICES, repaired
from decoder.recovery.repair import Repair
from decoder.surgery.apply import applied
from decoder.surgery.edit import EditError, Patch, edits_from_json
from decoder.surgery.patch import read_patches, write_patches
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.repairs import REPAIRS
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.kept_repairs import find_kept
from tests.support.command_line import call

IDS = torch.arange(2, 34).reshape(2, 16)
TOKENS = ("--tokens", 1600)


@pytest.fixture
def run(checkpoint, tmp_path):
    """A run directory with nothing but its configuration, and text in front of the held-out one."""
    model, text = checkpoint
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    settings = {"sequences": 30, "heldout_sequences": 6, "sequence_length": 32}
    directory.write_config(RunConfig.of(model=str(model), calibration=(str(text),), **settings))
    return directory.path


def logits(model):
    with torch.inference_mode():
        return model(input_ids=IDS, use_cache=False).logits


def is_repaired(path, original, run):
    """The stock model that was written is the original with what RUN keeps done to it."""
    kept = REPAIRS.read(run).repairs[-1]
    edits = edits_from_json([dict(edit) for edit in kept.edits])
    model = AutoModelForCausalLM.from_pretrained(original).eval()
    plain = logits(model)
    with applied(model, edits, patches=read_patches(run / kept.patches)):
        wanted = logits(model)
    found = logits(AutoModelForCausalLM.from_pretrained(path))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert (found - plain).abs().max() > 1e-3
    return kept


def test_a_method_is_fitted_shown_kept_and_exported(run, checkpoint, tmp_path):
    to = tmp_path / "small"
    status, out, err = call(
        "repair", run, "--remove", "2", "--method", "sequential", *TOKENS, "--to", to
    )
    assert status == 0, err
    assert "none" in out
    assert "nats per token on the held-out text" in out
    assert f"{to}: the repaired checkpoint" in out
    kept = is_repaired(to, checkpoint[0], run)
    assert [one.method for one in kept.tried if one.method != "none"] == ["sequential"]
    assert kept.fitted_tokens + kept.compared_tokens == kept.cost.tokens <= 1600
    assert any(edit["kind"] == "patch" for edit in kept.edits)
    facts = json.loads((to / "layershap.json").read_text())
    assert facts["repair"]["method"] == kept.cost.method == "sequential"
    assert facts["repair"]["tokens"] == kept.cost.tokens
    assert facts["repair"]["after"]["difference"] == kept.cost.difference
    assert facts["repair"]["before"]["difference"] == kept.deleted.difference
    assert facts["removed_players"] == "2"
    card = (to / "README.md").read_text()
    assert "## What was repaired" in card
    assert "fitted by the method sequential" in card
    assert "nothing else changed" not in card


def test_an_export_takes_what_is_kept_and_fits_what_is_not(run, checkpoint, tmp_path):
    arguments = ("export", run, "--remove", "2", "--repair", "sequential")
    status, _, err = call(*arguments, "--to", tmp_path / "one")
    assert status == 0, err
    first = is_repaired(tmp_path / "one", checkpoint[0], run)
    status, _, err = call("export", run, "--remove", "2", "--repair", "--to", tmp_path / "two")
    assert status == 0, err
    assert REPAIRS.read(run).repairs == (first,), "nothing is fitted again"
    assert is_repaired(tmp_path / "two", checkpoint[0], run) == first


def test_halves_are_repaired_and_the_whole_choice_is_printed_as_json(checkpoint, tmp_path):
    model, text = checkpoint
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    settings = {"sequences": 30, "heldout_sequences": 6, "sequence_length": 32}
    directory.write_config(
        RunConfig.of(model=str(model), calibration=(str(text),), players="sublayers", **settings)
    )
    status, out, err = call(
        "repair",
        directory.path,
        "--remove",
        "L1.mlp,L2.attn",
        "--method",
        "fast",
        *TOKENS,
        "--json",
    )
    assert status == 0, err
    found = json.loads(out)
    assert found["names"] == "L1.mlp,L2.attn"
    assert {one["method"] for one in found["tried"]} >= {"none", "sequential"}
    costs = [one["cost"] for one in found["tried"]]
    assert costs == sorted(costs)
    assert found["cost"]["method"] == found["tried"][0]["method"]
    gain = found["cost"]["difference"] - found["deleted"]["difference"]
    assert found["cost"]["gain"]["difference"] == pytest.approx(gain, abs=1e-9)


def test_matrices_at_the_cuts_are_written_on_request_alone(run, checkpoint, tmp_path):
    to = tmp_path / "with"
    status, out, err = call("repair", run, "--remove", "2,4", "--method", "boundary", *TOKENS)
    assert status == 0, err
    assert "no stock checkpoint" in out
    kept = REPAIRS.read(run).repairs[-1]
    assert (kept.stock, kept.patches) == (False, None)
    export = ("export", run, "--remove", "2,4", "--repair", "boundary")
    status, _, err = call(*export, "--to", to)
    assert status == 2
    assert "add --module" in err
    assert not to.exists()

    status, out, err = call(*export, "--module", "--to", to)
    assert status == 0, err
    model = AutoModelForCausalLM.from_pretrained(checkpoint[0]).eval()
    edits = edits_from_json([dict(edit) for edit in kept.edits])
    matrices = {int(k): m for k, m in read_patches(run / kept.matrices).items()}
    assert sorted(matrices) == [6, 10]
    with repaired(model, Repair("", edits, {}, (), 0.0, matrices)):
        wanted = logits(model)
    with applied(model, edits):
        deleted = logits(model)
    torch.testing.assert_close(logits(layershap.load(str(to))), wanted, atol=1e-4, rtol=1e-4)
    stock = logits(AutoModelForCausalLM.from_pretrained(to))
    torch.testing.assert_close(stock, deleted, atol=1e-4, rtol=1e-4)
    assert (wanted - deleted).abs().max() > 1e-3
    card = (to / "README.md").read_text()
    assert 'layershap.load("PATH")' in card
    assert "stock loaders leave them out" in card
    facts = json.loads((to / "layershap.json").read_text())
    assert facts["repair"]["matrices"] == MATRICES
    write_patches(to / MATRICES, {"before_layer.9": matrices[6]})
    with pytest.raises(EditError, match=r"before_layer\.9 is no matrix before one of 3 layers"):
        layershap.load(to)
    # What reports show and exports write by themselves is a stock one still.
    assert find_kept(RunDirectory(run), (2, 4), kept.heldout) is None


def test_auto_compares_matrices_where_they_are_allowed(run):
    arguments = ("repair", run, "--remove", "2", "--method", "auto", *TOKENS, "--json")
    for more, there in (((), False), (("--module",), True)):
        status, out, err = call(*arguments, *more)
        assert status == 0, err
        names = {one["method"] for one in json.loads(out)["tried"]}
        assert ({"boundary", "linear_patch"} <= names) is there


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "repair: name one of --remove"),
        (("--remove", "1", "--count", "1"), "repair: name one of --remove"),
        (("--remove", "1", "--method", "rotaton"), "--method rotaton: unknown; choose rotation"),
        (("--remove", "0-4"), "--remove: that is every layer"),
        (("--remove", "9"), "--remove 9"),
        (("--remove", "1", "--tokens", "40"), "--tokens 40: that is 1 x 32 tokens"),
        (("--remove", "1", "--text", "nothing.txt"), "text nothing.txt: cannot be read"),
        (("--remove", "1", "--text", "TEXT"), "holds some of the held-out text"),
        (("--remove", "1", "--method", "bridge", *TOKENS), "methods left: none, "),
        (("--remove", "1", "--to", "."), "--to .:"),
        (("--remove", "1", "--method", "boundary", "--to", "new"), "--method boundary: its matric"),
        (("--count", "1"), "run layershap verify"),
    ],
)
def test_bad_input_is_one_line_and_keeps_nothing(arguments, said, run, checkpoint):
    arguments = [checkpoint[1] if one == "TEXT" else one for one in arguments]
    status, _, err = call("repair", run, *arguments)
    assert status == 2, err
    lines = [line for line in err.splitlines() if line.startswith("layershap: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not (run / "repairs.json").exists()


def test_quantised_weights_are_refused(run, checkpoint, tmp_path):
    shutil.copytree(checkpoint[0], tmp_path / "quantised")
    path = tmp_path / "quantised" / "config.json"
    quantised = json.loads(path.read_text()) | {"quantization_config": {"quant_method": "awq"}}
    path.write_text(json.dumps(quantised))
    config = (run / "run.toml").read_text().replace(str(checkpoint[0]), str(path.parent))
    (run / "run.toml").write_text(config)
    status, _, err = call("repair", run, "--remove", "1", *TOKENS)
    assert status == 2
    assert "its weights are quantised" in err


def test_edits_of_a_file_and_merged_sets_are_not_repaired(run, tmp_path):
    status, _, err = call(
        "export", run, "--edits", tmp_path / "x.json", "--repair", "--to", tmp_path / "no"
    )
    assert status == 2
    assert "--repair: fits a set of a run" in err
    status, _, err = call("export", run, "--remove", "2", "--module", "--to", tmp_path / "no")
    assert status == 2
    assert "--module: writes what --repair fits" in err


def test_a_run_repairs_what_it_recommends(finished_run):
    found = RECOMMENDATIONS.read(finished_run)
    assert found.recommendations
    known = REPAIRS.read(finished_run)
    for item in found.recommendations:
        assert item.repair is not None
        kept = known.of_set(item.removed, found.fingerprint, "fast")
        assert kept is not None
        assert kept.cost == item.repair
        assert kept.deleted.difference == pytest.approx(item.difference, abs=1e-4)
        assert (item.repair.method == "none") == (kept.patches is None)
        patches = [edit for edit in kept.edits if edit["kind"] == Patch.kind]
        assert len(patches) == (kept.patches is not None)
