"""The benchmarks run at tiny sizes and write bars in the agreed form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_model

from layershap.demo.tokenizer import train_tokenizer
from sampling import enumerate_all

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(tmp_path):
    """Runs a benchmark as a user does; its JSON, after its form was checked, and its output."""

    def benchmark(name, *options):
        target = tmp_path / "out" / f"{name}.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(target), *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        found = json.loads(target.read_text())
        assert found["bars"]
        for bar in found["bars"]:
            assert set(bar) == {"name", "measured", "target", "holds"}
            assert isinstance(bar["name"], str)
            assert isinstance(bar["holds"], bool)
            assert bar["name"] in done.stdout
        return found, done.stdout

    return benchmark


def test_masked_evaluation(run):
    sizes = "width 32 layers 5 vocabulary 60 sequences 2 length 16 coalitions 20 subset 4 repeats 1"
    words = sizes.split()
    found, _ = run(
        "masked_evaluation", *(f"--{a}={b}" for a, b in zip(*[iter(words)] * 2, strict=True))
    )
    bars = {bar["name"]: bar for bar in found["bars"]}
    assert bars["largest NLL difference from deleting (4 coalitions)"]["holds"]
    assert found["nll_difference_zeroing"] < 1e-4
    passes = found["layer_passes"]
    assert passes["walk"] < passes["deleting"] < passes["zeroing"] <= 5 * 20


def test_exact_demo(run, tmp_path):
    tiny_model("llama", vocab_size=300).save_pretrained(tmp_path / "model")
    train_tokenizer(["some text, any text"], 300, 64).save_pretrained(tmp_path / "model")
    found, output = run(
        "exact_demo",
        "--model",
        str(tmp_path / "model"),
        "--sequences=2",
        "--length=16",
        "--sample=6",
    )
    bars = {bar["name"]: bar for bar in found["bars"]}
    assert bars["layer passes for every coalition"]["holds"]
    assert bars["largest NLL difference from the plain loop (6 coalitions)"]["holds"]
    assert found["layer_evaluations"] == 2**5 - 1
    assert found["plain_layer_evaluations"] == enumerate_all(5).sum()
    gain = found["empty_nll"] - found["dense_nll"]
    assert sum(found["shapley"].values()) == pytest.approx(gain, abs=1e-6)
    assert "L4" in output


def test_exact_demo_without_a_model(tmp_path):
    command = [sys.executable, "-m", "benchmarks.exact_demo", "--model", str(tmp_path / "gone")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "no such directory" in done.stderr
    assert "Traceback" not in done.stderr
