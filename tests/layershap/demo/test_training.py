"""The demo model's training learns, resumes from its checkpoint and writes what is shipped."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from layershap.demo.tokenizer import train_tokenizer
from layershap.demo.train import Recipe, train

RECIPE = Recipe(
    layers=3, width=32, mlp_width=48, heads=2, vocabulary=300, context=32, batch=4, steps=30,
    warmup=5,
)  # fmt: skip


@pytest.mark.slow
def test_train_resume_and_summary(tmp_path):
    text = "def add(a, b):\n    return a + b\n" * 400
    tokenizer = train_tokenizer([text], 300, 32)
    tokenizer.save_pretrained(tmp_path / "work" / "tokenizer")
    stream = np.asarray(tokenizer(text, verbose=False)["input_ids"], dtype=np.int32)
    names = ("library", "tests", "calibration", "heldout")
    np.savez(tmp_path / "work" / "tokens.npz", **dict.fromkeys(names, stream))  # type: ignore[arg-type]
    work, model = tmp_path / "work", tmp_path / "model"

    train(dataclasses.replace(RECIPE, steps=20), work, model, processes=2, every=10)
    train(RECIPE, work, model, processes=2, every=10)

    log = [json.loads(line) for line in (work / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [10, 20, 30]
    assert log[-1]["calibration_loss"] < log[0]["calibration_loss"] - 0.3
    assert log[-1]["tokens"] == 30 * 4 * 32
    summary = json.loads((work / "summary.json").read_text())
    assert len(summary["single_removals"]) == 3
    assert summary["trigram_nll"] < 0.1
    assert summary["heldout_nll"] == pytest.approx(log[-1]["calibration_loss"], abs=0.02)
    assert AutoModelForCausalLM.from_pretrained(model).config.num_hidden_layers == 3
    assert len(AutoTokenizer.from_pretrained(model)) == tokenizer.vocab_size
    assert not list(work.glob("store-*"))
