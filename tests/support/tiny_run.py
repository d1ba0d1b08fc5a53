"""A tiny model, its text, and the options of a short run on it."""

from __future__ import annotations

import pytest

from layershap.demo.corpus import documents
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import tiny_model

__all__ = ["OPTIONS", "checkpoint"]

OPTIONS = ["--count", "1-2", "--sequences", "3", "--heldout-sequences", "4", "--speed-rounds", "2"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A tiny Llama with a tokenizer and a text file to measure it on."""
    folder = tmp_path_factory.mktemp("model")
    tiny_model("llama", vocab_size=300).save_pretrained(folder / "tiny")
    text = next(d.text for d in documents("calibration") if len(d.text) > 5000)
    train_tokenizer([text], 300, 64).save_pretrained(folder / "tiny")
    (folder / "text.txt").write_text(text)
    return folder / "tiny", folder / "text.txt"
