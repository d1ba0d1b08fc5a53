"""The command line with halves of layers, protected players and several utilities at once."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from cluster import Ledger
from tests.support.command_line import call
from tests.support.refusals import refused
from tests.support.tiny_run import OPTIONS


def items(path, count=24):
    rng = np.random.default_rng(0)
    words = ["def", "class", "return", "import", "self", "None", "with", "yield"]
    lines = [
        {
            "query": " ".join(rng.choice(words, 4)),
            "choices": [" ".join(rng.choice(words, n)) for n in (1, 2, 3)],
            "gold": int(rng.integers(3)),
        }
        for _ in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def finished(checkpoint, tmp_path_factory, ray_address):
    model, text = checkpoint
    folder = tmp_path_factory.mktemp("halves")
    task = items(folder / "words.jsonl")
    run = folder / "run"
    status, out, err = call(
        *("run", model, "--calibration", text, "-o", run, *OPTIONS, "--budget", 40),
        *("--players", "sublayers", "--protect", "0,L4.mlp", "--score-share", 0.5),
        *("--utility", f"choices:{task}", "--utility", "nll", "--items", 12),
        *("--heldout-items", 10, "--order", "given"),
    )
    assert status == 0, err
    return run, out, err


def test_everything_is_measured_in_one_campaign(finished):
    run, out, err = finished
    assert "7 players" in err
    assert "12 items of" in err
    assert "nats per item" in err
    assert "L1.attn" in out or "L2" in out
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        records = campaign.read()
        heldout = ledger.campaign("heldout").read()
    assert campaign.players == (
        *("L1.attn", "L1.mlp", "L2.attn", "L2.mlp", "L3.attn", "L3.mlp", "L4.attn"),
    )
    assert campaign.utility == "words.margin"
    assert set(records.metrics) == {
        *("nll", "kl", "top1", "words.acc", "words.acc_norm", "words.margin"),
    }
    np.testing.assert_allclose(records.utilities, records.mean("words.margin"))
    assert len(records.weights) == 12
    assert heldout.metrics["words.acc"].shape[1] == 10
    assert set(campaign.column("nll").weights) == {round(0.5 * 63)}
    assert (records.times_measured == 1).all()
    found = json.loads((run / "recommendations.json").read_text())
    assert set(found["recommendations"][0]["tasks"]) == {
        *("words.acc", "words.acc_norm", "words.margin"),
    }


def test_players_are_named_as_people_name_them(finished):
    run, _, _ = finished
    status, out, err = call("query", run, "--remove", "L1.attn,3", "--json")
    assert status == 0, err
    answer = json.loads(out)
    assert answer["removed"] == [0, 4, 5]
    assert answer["metric"] == "words.margin"
    assert answer["lower"] <= answer["predicted"] <= answer["upper"]
    assert "protected" in refused("query", run, "--remove", "0")
    assert "nearest" in refused("query", run, "--remove", "L3.atn")


def test_export_deletes_layers_and_zeroes_halves(finished, tmp_path):
    run, _, _ = finished
    status, out, err = call("export", run, "--remove", "L1.attn,3", "--to", tmp_path / "small")
    assert status == 0, err
    assert "zeroed, so neither smaller nor faster in a stock model: L1.attn" in out
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert model.config.num_hidden_layers == 4
    assert not model.model.layers[1].self_attn.o_proj.weight.any()
    assert model.model.layers[1].mlp.down_proj.weight.any()
    facts = json.loads((tmp_path / "small" / "layershap.json").read_text())
    assert facts["removed_layers"] == [3]
    assert facts["zeroed"] == ["L1.attn"]


def test_what_was_measured_can_be_handed_on(finished, tmp_path):
    run, _, _ = finished
    status, _, err = call("ledger", "export", run, "--to", tmp_path / "all.csv")
    assert status == 0, err
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        records = ledger.campaign("calibration").read()
    assert len(rows) == len(records)
    whole = next(row for row in rows if row["n_removed"] == "0")
    dense = records.coalitions.all(axis=1)
    assert float(whole["words.acc"]) == pytest.approx(records.mean("words.acc")[dense][0])
    assert float(whole["utility"]) == pytest.approx(records.utilities[dense][0])


def test_a_model_within_its_memory_gives_the_same_numbers(checkpoint, ray_address, tmp_path):
    model, text = checkpoint
    common = ("measure", model, "--calibration", text, *OPTIONS, "--budget", 16)
    for name, extra in (
        ("plain", ()),
        ("breadth", ("--walk", "breadth", "--memory", 2)),
        ("batch", ("--micro-batch", 64)),
    ):
        status, _, err = call(*common, "-o", tmp_path / name, *extra)
        assert status == 0, err
    found = []
    for name in ("plain", "breadth", "batch"):
        with Ledger(tmp_path / name / "ledger.sqlite", readonly=True) as ledger:
            found.append(ledger.campaign("calibration").read())
    assert found[0].metrics["nll"].tobytes() == found[1].metrics["nll"].tobytes()
    np.testing.assert_allclose(found[0].metrics["nll"], found[2].metrics["nll"], atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        ("--players", "halves"),
        ("--players", "blocks:6"),
        ("--protect", "7"),
        ("--protect", "0-4"),
        ("--utility", "nl"),
        ("--utility", "nll", "--utility", "nll"),
        ("--score-share", "1.5"),
        ("--memory", "0"),
        ("--device", "cuda:9"),
    ],
    ids=" ".join,
)
def test_options_out_of_range(checkpoint, tmp_path, options, wording):
    model, text = checkpoint
    line = refused("measure", model, "--calibration", text, "-o", tmp_path / "run", *options)
    assert line.option == options[0]
    if options[0] != "--device":  # what there is to choose from depends on the machine
        wording(line)


def test_a_worker_with_too_little_memory_says_which_option_to_change(
    checkpoint, ray_address, tmp_path
):
    model, text = checkpoint
    options = ("--calibration", text, "-o", tmp_path / "run", "--memory", "0.05")
    line = refused("measure", model, *options)
    assert "--memory 0.05: too little for a single layer" in line


def test_items_that_are_not_there(checkpoint, tmp_path, wording):
    model, text = checkpoint
    options = ("--calibration", text, "-o", tmp_path / "run", "--utility", "choices:/no/file.jsonl")
    line = refused("measure", model, *options)
    assert (line.option, line.value) == ("task", "/no/file.jsonl")
    wording(line)


@pytest.mark.parametrize(
    "second",
    [
        '{"query": "a", "choices": ["b", "c"]}',
        '{"query": "a", "choices": ["b", "c"], "gold": 2}',
        '{"query": "a", "gold": 0}',
        "not json",
    ],
    ids=["no gold", "no such gold", "no choices", "no JSON"],
)
def test_wrong_items_name_their_line(checkpoint, tmp_path, second, wording, request):
    model, text = checkpoint
    file = tmp_path / "items.jsonl"
    file.write_text('{"query": "a", "choices": ["b", "c"], "gold": 1}\n' + second + "\n")
    line = refused(
        *("measure", model, "--calibration", text, "-o", tmp_path / "run"),
        *("--utility", f"choices:{file}"),
    )
    assert "line 2" in line
    wording(line, *line.arguments, f"({request.node.callspec.id})")
