"""The embedded text and the trigram that the embedded model is compared with."""

from __future__ import annotations

import numpy as np
import pytest

from layershap.demo.corpus import SPLITS, documents, split_of
from layershap.demo.tokenizer import END_OF_TEXT, train_tokenizer
from layershap.demo.trigram import Trigram


def test_splits_share_no_document_and_all_have_text():
    names = {split: {d.name for d in documents(split)} for split in SPLITS}
    assert all(names.values())
    assert not names["train"] & names["calibration"]
    assert not names["train"] & names["heldout"]
    assert not names["calibration"] & names["heldout"]
    assert set().union(*names.values()) == {d.name for d in documents()}
    assert any("pydoc_data/topics.py#" in name for name in names["calibration"])


def test_a_name_decides_its_split():
    assert split_of("test/test_json.py") == "train"
    assert split_of("json/decoder.py") == split_of("json/decoder.py")
    shares = [split_of(f"module{i}.py") for i in range(2000)]
    assert 0.03 < shares.count("heldout") / 2000 < 0.07
    assert 0.03 < shares.count("calibration") / 2000 < 0.07


def test_tokenizer_encodes_any_text_and_gives_it_back():
    tokenizer = train_tokenizer(["def f(x):\n    return x\n"] * 5, 300, 64)
    text = "naïve 漢字 \t🙂 def f(y):\n    pass"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.convert_tokens_to_ids(END_OF_TEXT) == tokenizer.eos_token_id == 0


@pytest.mark.parametrize("context", [(0, 1), (3, 3), (4, 0)])
def test_trigram_probabilities_add_up_to_one(context):
    tokens = np.random.default_rng(0).integers(0, 4, size=400) ** 2 % 5
    model = Trigram(tokens, 5)
    total = sum(float(model.probabilities(np.array([*context, c]))[0]) for c in range(5))
    assert total == pytest.approx(1.0)


def test_trigram_learns_what_three_tokens_can_tell():
    rng = np.random.default_rng(1)
    tokens: list[int] = [0, 1]
    for _ in range(20_000):  # the next token is the sum of the last two, nine times out of ten
        tokens.append((tokens[-1] + tokens[-2]) % 7 if rng.random() < 0.9 else int(rng.integers(7)))
    stream = np.array(tokens)
    entropy = -(0.9 + 0.1 / 7) * np.log(0.9 + 0.1 / 7) - 6 * (0.1 / 7) * np.log(0.1 / 7)
    assert Trigram(stream[:15_000], 7).nll(stream[15_000:]) == pytest.approx(entropy, rel=0.1)
