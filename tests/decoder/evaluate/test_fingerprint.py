"""Fingerprints follow content: one token, player or type changes them, memory order does not."""

from __future__ import annotations

import numpy as np

from decoder.data.text import text_fingerprint
from decoder.evaluate.fingerprint import combine

TOKENS = np.random.default_rng(0).integers(2, 97, size=(2, 8))


def test_text_fingerprint_follows_tokens_and_shape():
    before = text_fingerprint(TOKENS)
    assert text_fingerprint(np.asfortranarray(TOKENS.astype(np.int32))) == before
    assert text_fingerprint(TOKENS.reshape(4, 4)) != before
    assert text_fingerprint(TOKENS[::-1]) != before
    changed = TOKENS.copy()
    changed[1, 3] += 1
    assert text_fingerprint(changed) != before


def test_combined_fingerprint_follows_every_part():
    base = {
        "model": "m",
        "workload": "t",
        "players": ("L0", "L1"),
        "dtype": "float32",
        "device": "cpu",
    }
    others = {
        "model": "n",
        "workload": "u",
        "players": ("L0",),
        "dtype": "float16",
        "device": "cuda",
    }
    found = [combine(**base)] + [combine(**{**base, name: others[name]}) for name in base]
    assert len(set(found)) == 6
