"""A whole run on conversations, and a tokenizer that does not lie beside the weights."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from transformers import AutoTokenizer

from cluster import Ledger
from layershap.results.recommendations import RECOMMENDATIONS
from tests.support.command_line import call
from tests.support.refusals import refused
from tests.support.tiny_run import OPTIONS

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def chat(checkpoint, tmp_path_factory):
    """A model whose tokenizer lies elsewhere and has a template, and a file of conversations."""
    folder = tmp_path_factory.mktemp("chat")
    model, talks = folder / "model", folder / "talks.jsonl"
    shutil.copytree(checkpoint[0], model, ignore=shutil.ignore_patterns("*token*"))
    tokenizer = AutoTokenizer.from_pretrained(checkpoint[0])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder / "tokenizer")
    words = checkpoint[1].read_text().split()
    rng = np.random.default_rng(0)
    talks.write_text(
        "".join(
            json.dumps({"prompt": " ".join(rng.choice(words, 12)), "completion": " ".join(part)})
            + "\n"
            for part in np.array_split(rng.permutation(words), 30)
        )
    )
    return model, folder / "tokenizer", talks


def test_a_run_scores_answers_alone_and_exports_with_the_tokenizer(chat, tmp_path, ray_address):
    model, tokenizer, talks = chat
    run = tmp_path / "run"
    status, _, err = call(
        "run", model, "--tokenizer", tokenizer, "--calibration", talks, "--chat", "-o", run,
        *OPTIONS, "--budget", 20, "--repair-budget", 0, "--allow-overlap",
    )  # fmt: skip
    assert status == 0, err
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        (column,) = [c for c in ledger.campaign("calibration").columns if c.name == "nll"]
    assert all(0 < weight <= 63 for weight in column.weights)
    assert sum(column.weights) < 3 * 63
    found = RECOMMENDATIONS.read(run)
    assert 0 < found.tokens < 4 * 63
    (set_found, *_) = found.recommendations
    assert set_found.repair is not None
    to = tmp_path / "smaller"
    status, _, err = call("export", run, "--count", 1, "--to", to)
    assert status == 0, err
    assert AutoTokenizer.from_pretrained(to).chat_template == TEMPLATE


def test_what_is_missing_is_named(chat, checkpoint):
    model, tokenizer, talks = chat
    assert "--tokenizer" in refused("measure", model, "--calibration", talks)
    line = refused("measure", model, "--tokenizer", model, "--calibration", talks)
    assert line.startswith(f"--tokenizer {model}: no usable tokenizer there")
    plain = ("measure", checkpoint[0], "--calibration", talks, "--chat")
    assert "has no chat template" in refused(*plain)
    assert "give --calibration" in refused("measure", model, "--tokenizer", tokenizer, "--chat")
    prose = ("measure", model, "--tokenizer", tokenizer, "--calibration", checkpoint[1], "--chat")
    assert "line 1 is no conversation" in refused(*prose)
