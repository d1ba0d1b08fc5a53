"""Small texts and tasks of random tokens; for tests."""

from __future__ import annotations

import numpy as np

from decoder import TokenText
from decoder.data.choices import ChoiceTask


def text(rows=5, length=9, seed=0):
    return TokenText(np.random.default_rng(seed).integers(0, 50, (rows, length)), "random")


def task(name="toy", rows=((1, 2, 3, 4), (1, 2, 5), (9, 8, 7, 6, 5), (9, 1)), counts=(2, 1, 3, 1)):
    return ChoiceTask(
        name=name,
        source="toy.jsonl",
        rows=tuple(np.array(row) for row in rows),
        continuations=np.array(counts),
        items=np.array([0, 0, 1, 1]),
        gold_row=np.array([0, 3]),
        characters=np.array([3, 2, 5, 1]),
    )
