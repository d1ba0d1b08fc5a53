"""Fingerprints follow content: one weight, one token or a type changes them, a name does not."""

from __future__ import annotations

import numpy as np
from tiny_models import tiny_model

from llm import ModelSpec, load_model
from llm.fingerprint import combine, model_fingerprint, text_fingerprint

TOKENS = np.random.default_rng(0).integers(2, 97, size=(2, 8))


def test_model_fingerprint_ignores_the_directory(tmp_path):
    model = tiny_model("llama")
    found = {model_fingerprint(model)}
    for name in ("first", "second"):
        model.save_pretrained(tmp_path / name)
        found.add(model_fingerprint(load_model(ModelSpec(str(tmp_path / name)))))
    assert len(found) == 1


def test_model_fingerprint_follows_weights_type_and_configuration():
    model = tiny_model("llama")
    before = model_fingerprint(model)
    assert model_fingerprint(tiny_model("llama")) == before
    weight = model.get_parameter("model.layers.3.mlp.up_proj.weight")
    kept = weight[0, 0].item()
    weight[0, 0] = float(np.nextafter(np.float32(kept), np.float32(9)))
    assert model_fingerprint(model) != before
    weight[0, 0] = kept
    assert model_fingerprint(model) == before
    assert model_fingerprint(tiny_model("llama").bfloat16()) != before
    assert model_fingerprint(tiny_model("llama", rms_norm_eps=1e-3)) != before


def test_text_fingerprint_follows_tokens_and_shape():
    before = text_fingerprint(TOKENS)
    assert text_fingerprint(np.asfortranarray(TOKENS.astype(np.int32))) == before
    assert text_fingerprint(TOKENS.reshape(4, 4)) != before
    assert text_fingerprint(TOKENS[::-1]) != before
    changed = TOKENS.copy()
    changed[1, 3] += 1
    assert text_fingerprint(changed) != before


def test_combined_fingerprint_follows_every_part():
    base = {"model": "m", "text": "t", "players": ("L0", "L1"), "dtype": "float32", "device": "cpu"}
    others = {"model": "n", "text": "u", "players": ("L0",), "dtype": "float16", "device": "cuda"}
    found = [combine(**base)] + [combine(**{**base, name: others[name]}) for name in base]
    assert len(set(found)) == 6
