"""The benchmarks run at tiny sizes and write bars in the agreed form."""

from __future__ import annotations

import json

import pytest

from benchmarks import (
    estimators,
    exact_demo,
    masked_evaluation,
    memory_bound,
    repair,
    walk_efficiency,
)
from layershap.demo.tokenizer import train_tokenizer
from sampling import enumerate_all
from tests.support.tiny_models import tiny_model


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a benchmark on a command line; its JSON, after its form was checked, and its output."""

    def benchmark(module, options):
        target = tmp_path / "out" / "bars.json"
        monkeypatch.setattr("sys.argv", ["benchmark", "--json", str(target), *options.split()])
        module.main()
        output = capsys.readouterr().out
        found = json.loads(target.read_text())
        assert found["bars"]
        for bar in found["bars"]:
            assert set(bar) == {"name", "measured", "target", "holds"}
            assert isinstance(bar["name"], str)
            assert isinstance(bar["holds"], bool)
            assert bar["name"] in output
        return found, {bar["name"]: bar["holds"] for bar in found["bars"]}

    return benchmark


def test_masked_evaluation(run):
    found, bars = run(
        masked_evaluation,
        "--width 64 --layers 5 --vocabulary 60 --sequences 2 --length 16 --coalitions 20"
        " --subset 4 --repeats 1",
    )
    assert bars["largest NLL difference from deleting (4 coalitions)"]
    assert found["nll_difference_zeroing"] < 1e-4
    passes = found["layer_passes"]
    assert passes["walk"] < passes["deleting"] < passes["zeroing"]


def test_walk_efficiency(run):
    found, bars = run(
        walk_efficiency,
        "--width 64 --head-width 16 --layers 5 --vocabulary 60 --sequences 2 --length 300"
        " --coalitions 12 --repeats 1 --seconds 0.01",
    )
    assert bars["layer evaluations a batch"]
    assert all(rate > 0 for rates in found["rates"].values() for rate in rates)


@pytest.mark.slow
def test_memory_bound(run, tmp_path):
    found, bars = run(
        memory_bound,
        f"--directory {tmp_path} --memory 0.8 --times 0.4 --width 512 --mlp-width 1024"
        " --vocabulary 500 --coalitions 3 --length 32 --more-text 2",
    )
    assert bars["largest NLL difference from no bound"]
    assert bars["layer evaluations"]
    assert bars["peak / bound, large model"]
    assert "breadth=True" in found["tight"]["plan"]


def test_exact_demo(run, tmp_path):
    tiny_model("llama", vocab_size=300).save_pretrained(tmp_path / "model")
    train_tokenizer(["some text, any text"], 300, 64).save_pretrained(tmp_path / "model")
    found, bars = run(
        exact_demo, f"--model {tmp_path / 'model'} --sequences 2 --length 16 --sample 6"
    )
    assert bars["layer passes for every coalition"]
    assert bars["largest NLL difference from the plain loop (6 coalitions)"]
    assert found["layer_evaluations"] == 2**5 - 1
    assert found["plain_layer_evaluations"] == enumerate_all(5).sum()
    gain = found["empty_nll"] - found["dense_nll"]
    assert sum(found["shapley"].values()) == pytest.approx(gain, abs=1e-6)


def test_exact_demo_without_a_model(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["benchmark", "--model", str(tmp_path / "gone")])
    with pytest.raises(SystemExit) as caught:
        exact_demo.main()
    assert caught.value.code == 2
    assert "no such directory" in capsys.readouterr().err


def test_estimators_without_peers(run, tmp_path):
    found, _ = run(
        estimators,
        f"--parts values --skip-peers --games smooth --budgets 10 --seeds 2 --workers 1"
        f" --tables {tmp_path / 'tables'}",
    )
    assert found["seeds"] == 2
    assert [cell["game"] for cell in found["cells"]] == ["smooth"]


def test_repair(run):
    found, bars = run(
        repair,
        "--sets 3 --sequences 12 --heldout-sequences 3 --length 128 --exports 1"
        " --methods down_projection",
    )
    assert bars["exported checkpoints, difference"]
    assert [row["kind"] for row in found["rows"]] == ["run", "scattered", "halves"]
    assert set(found["rows"][0]["published"]) == set(repair.PUBLISHED)
