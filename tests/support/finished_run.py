"""A finished run of a tiny 12-layer model, shared by all tests of what comes after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from layershap.demo.corpus import documents
from layershap.demo.tokenizer import train_tokenizer
from tests.support.command_line import call
from tests.support.tiny_models import tiny_model

LAYERS = 12
BUDGET = 40
OPTIONS = ["--count", "1-2", "--sequences", 3, "--heldout-sequences", 4, "--sequence-length", 32,
           "--speed-rounds", 2, "--rounds", 1, "--budget", BUDGET]  # fmt: skip


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, ray_address: str) -> Path:
    """The directory of a finished run. Tests that change anything copy it first."""
    folder = tmp_path_factory.mktemp("finished")
    model = tiny_model("llama", vocab_size=300, num_hidden_layers=LAYERS)
    model.save_pretrained(folder / "tiny")
    text = next(d.text for d in documents("calibration") if len(d.text) > 5000)
    train_tokenizer([text], 300, 64).save_pretrained(folder / "tiny")
    (folder / "text.txt").write_text(text)
    run = folder / "run"
    status, _, err = call(
        "run", folder / "tiny", "--calibration", folder / "text.txt", "-o", run, *OPTIONS
    )
    assert status == 0, err
    return run
