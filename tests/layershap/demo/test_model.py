"""The shipped model is what the package says it is."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import LlamaForCausalLM

from decoder import MaskedModel, ModelSpec, load_model, load_tokenizer
from layershap.demo import MODEL_DIRECTORY
from layershap.runs.config import RunConfig
from layershap.runs.texts import load_texts
from sampling import anchors

SPEC = ModelSpec(str(MODEL_DIRECTORY))


@pytest.fixture(scope="module")
def model():
    return load_model(SPEC)


def test_small_stock_and_deep_enough(model):
    assert isinstance(model, LlamaForCausalLM)
    assert model.config.num_hidden_layers >= 12
    assert sum(file.stat().st_size for file in MODEL_DIRECTORY.iterdir()) <= 24_000_000
    assert {file.suffix for file in MODEL_DIRECTORY.iterdir()} <= {".json", ".safetensors"}


def test_it_has_learnt_and_its_layers_differ(model):
    config = RunConfig.of(sequences=4, heldout_sequences=4)
    texts = load_texts(config, load_tokenizer(SPEC), model.config)
    rows = anchors(len(MaskedModel(model, texts.heldout.tokens).players))
    for text in (texts.calibration, texts.heldout):
        nll = MaskedModel(model, text.tokens).measure(rows)["nll"].mean(axis=1)
        assert nll[0] < 3.2 < np.log(model.config.vocab_size) - 3
        assert nll[1] > nll[0] + 3
        costs = nll[2:] - nll[0]
        assert costs.max() > 10 * costs.min()
