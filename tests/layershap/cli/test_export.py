"""`layershap export`: sets, methods' merged models, and edits of an earlier export repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from decoder.surgery.apply import applied
from decoder.surgery.edit import Merge, Remove, ZeroHalf, edits_from_json
from layershap.results.recommendations import (
    RECOMMENDATIONS,
    BaselineVariant,
    DenseModel,
    Recommendations,
    VerifiedVariant,
)
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from tests.support.command_line import call

IDS = torch.arange(2, 34).reshape(2, 16)
QUALITY: dict[str, Any] = {"difference": 0.1, "difference_lower": 0.0, "difference_upper": 0.2}


def baseline(method, removed, merges=None):
    return BaselineVariant(**QUALITY, method=method, removed=removed, merges=merges)


def verified(removed, *baselines):
    names = ",".join(map(str, removed))
    shared: dict[str, Any] = {
        "names": names,
        "export": "",
        "against_best": None,
        "baselines": baselines,
    }
    return VerifiedVariant(**QUALITY, count=len(removed), removed=removed, **shared)


VERIFIED = Recommendations(
    fingerprint="of another text",
    text="text",
    tokens=62,
    noun="layer",
    players=tuple(f"L{layer}" for layer in range(5)),
    dense=DenseModel(**QUALITY, parameters=1000),
    recommendations=(
        verified((3,), baseline("LaCo", (2,), ((1, (2,)),)), baseline("Block Influence", (4,))),
        verified((1, 3)),
    ),
)


def logits(model):
    with torch.inference_mode():
        return model(input_ids=IDS, use_cache=False).logits


def agrees(path, original, edits):
    """The stock model that was written is the original with these edits."""
    model = AutoModelForCausalLM.from_pretrained(original).eval()
    with applied(model, edits):
        wanted = logits(model)
    found = AutoModelForCausalLM.from_pretrained(path)
    torch.testing.assert_close(logits(found), wanted, atol=1e-5, rtol=1e-5)
    facts = json.loads((path / "layershap.json").read_text())
    assert edits_from_json(facts) == tuple(edits)
    return facts


@pytest.fixture(scope="module")
def run(checkpoint, tmp_path_factory):
    model, text = checkpoint
    directory = RunDirectory(tmp_path_factory.mktemp("exported") / "run")
    directory.create()
    directory.write_config(
        RunConfig.of(
            model=str(model),
            calibration=(str(text),),
            sequences=2,
            heldout_sequences=2,
            sequence_length=32,
        )
    )
    RECOMMENDATIONS.write(directory.path, VERIFIED)
    return directory.path


@pytest.mark.parametrize(
    ("arguments", "edits", "said"),
    [
        (("--remove", "1,3"), [Remove(1), Remove(3)], "5 layers became 3"),
        (("--count", "2"), [Remove(1), Remove(3)], "5 layers became 3"),
        (("--count", "1", "--method", "layershap"), [Remove(3)], "5 layers became 4"),
        (("--count", "1", "--method", "block-influence"), [Remove(4)], "5 layers became 4"),
        (("--count", "1", "--method", "LaCo"), [Merge(1, (2,))], "merged: L2 into L1"),
    ],
)
def test_sets_of_all_methods_are_exported(arguments, edits, said, run, checkpoint, tmp_path):
    status, out, err = call("export", run, *arguments, "--to", tmp_path / "small")
    assert status == 0, err
    assert said in out
    facts = agrees(tmp_path / "small", checkpoint[0], edits)
    assert facts["measured"] is None, "recommendations of another text say nothing of it"
    assert facts["layers_after"] == 5 - len(facts["removed_players"].split(","))


def test_edits_are_repeated_on_the_runs_model_and_on_any_other(run, checkpoint, tmp_path):
    edits = (Merge(0, (1,)), Remove(3), ZeroHalf(4, "mlp"))
    file = tmp_path / "edits.json"
    file.write_text(
        json.dumps(
            [
                {"kind": "zero_half", "layer": 4, "part": "mlp"},
                {"kind": "remove", "layer": 3},
                {"kind": "merge", "into": 0, "layers": [1]},
            ]
        )
    )
    status, out, err = call("export", run, "--edits", file, "--to", tmp_path / "one")
    assert status == 0, err
    assert "zeroed, so neither smaller nor faster in a stock model: L4.mlp" in out
    facts = agrees(tmp_path / "one", checkpoint[0], edits)
    assert facts["removed_players"] == "1,3,L4.mlp"
    first = tmp_path / "one" / "layershap.json"
    arguments = ("--edits", first, "--model", checkpoint[0], "--to", tmp_path / "two")
    status, _, err = call("export", *arguments)
    assert status == 0, err
    again = agrees(tmp_path / "two", checkpoint[0], edits)
    assert again["edits_fingerprint"] == facts["edits_fingerprint"]
    assert again["removed_players"] == facts["removed_players"]
    assert "not measured on held-out text" in (tmp_path / "two" / "README.md").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1", "Expecting"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "holds no edits"),
        ('{"format": 1, "removed_layers": [1]}', "holds no list of edits"),
        ('[{"kind": "remove", "layer": 9}]', "there is no layer 9; the model has layers 0 to 4"),
        (f'[{{"kind": "remove", "layer": {"9" * 5000}}}]', "integer"),
        ('[{"kind": "remove", "layer": 1}, {"kind": "remove", "layer": 1}]', "name each layer"),
        ('[{"kind": "prune", "layer": 1}]', "edit 1: unknown kind 'prune'; kinds are remove"),
        (b"\xff\xfe", "codec"),
        (None, "No such file"),
    ],
)
@pytest.mark.parametrize("where", ["run", "model"])
def test_edits_that_cannot_be_repeated_are_one_line(
    where, content, said, run, checkpoint, tmp_path
):
    file = tmp_path / "edits.json"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = (run,) if where == "run" else ("--model", checkpoint[0])
    status, out, err = call("export", *source, "--edits", file, "--to", tmp_path / "small")
    assert (status, out) == (2, "")
    assert f"--edits {file}: " in err
    assert said in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("RUN",), "name one of --remove, as --remove 4,6, --count and --edits"),
        (("RUN", "--remove", "1", "--count", "1"), "name one of --remove"),
        (("RUN", "--remove", "1", "--method", "laco"), "--method laco: needs --count"),
        (("RUN", "--remove", "1", "--dtype", "float32"), "--dtype: RUN has a model of its own"),
        (("RUN", "--remove", "0-4"), "--remove: that is every layer; keep at least one"),
        (("RUN", "--count", "3"), "--count 3: nothing is recommended for it; RUN has 1, 2"),
        (
            ("RUN", "--count", "2", "--method", "laco"),
            "--count 2: no set of laco was verified for it; RUN has 1",
        ),
        (
            ("RUN", "--count", "1", "--method", "greedy"),
            "no set of it was verified; RUN has layershap, laco, block-influence",
        ),
        (("--remove", "1"), "name RUN, the directory of a run, or --edits with --model"),
        (("--edits", "nowhere.json"), "name RUN, the directory of a run, or --edits with --model"),
    ],
)
def test_what_is_not_one_model_is_one_line(arguments, said, run, tmp_path):
    given = [run if argument == "RUN" else argument for argument in arguments]
    status, out, err = call("export", *given, "--to", tmp_path / "small")
    assert (status, out) == (2, "")
    assert said.replace("RUN has 1", f"{run} has 1").replace("RUN has l", f"{run} has l") in err
    assert len(err.splitlines()) == 1
