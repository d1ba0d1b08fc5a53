"""The texts that benchmarks of repair fit, search and compare on."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from decoder import TextError
from decoder.data.text import cut_sequences, read_file, tokenise
from layershap.demo.corpus import split_text

__all__ = ["read_texts"]


def read_texts(
    options: Any, tokenizer: Any, calibration: int
) -> tuple[Int[np.ndarray, "S T"], Int[np.ndarray, "H T"]]:
    """Tokenise calibration and held-out text: the demo's, or the files beside `--model`.

    Args:
        options: `model`, `calibration`, `heldout`, `heldout_sequences` and `length`.
        tokenizer: of the model.
        calibration: sequences of the first text.

    Raises:
        TextError: a file is missing, unreadable or too short.
    """
    files = (options.calibration, options.heldout)
    if options.model is not None and None in files:
        raise TextError("--model: needs the files of --calibration and --heldout too")
    texts = [
        split_text(split) if options.model is None else read_file(file)
        for split, file in zip(("calibration", "heldout"), files, strict=True)
    ]
    found = [
        cut_sequences(
            tokenise(tokenizer, text), sequences=count, length=options.length, source="text"
        ).tokens
        for text, count in zip(texts, (calibration, options.heldout_sequences), strict=True)
    ]
    return found[0], found[1]
