"""Text to measure on: files, Hugging Face datasets or strings, cut into token sequences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from llm.errors import TextError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["TokenText", "cut_sequences", "read_dataset", "read_file", "tokenise"]

_DATASET_COLUMNS = ("text", "content", "sentence", "story", "article", "document")
_ENOUGH_CHARACTERS = 20_000_000


@dataclass(frozen=True)
class TokenText:
    """Token sequences of one length.

    Attributes:
        tokens: Int64[S, T], one sequence a row.
        source: where the text came from, for people.
    """

    tokens: Int[np.ndarray, "S T"]
    source: str

    @property
    def predicted(self) -> Int[np.ndarray, "S"]:
        """Tokens of each sequence that are predicted: all but the first."""
        return np.full(len(self.tokens), self.tokens.shape[1] - 1)


def read_file(path: str) -> list[str]:
    """Texts of a plain text file, of JSON lines (strings, or objects with a text field) or JSON.

    Raises:
        TextError: the file is missing, empty, binary or has no text.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise TextError(f"text {path}: is a directory; name the file or files in it")
    try:
        raw = file.read_bytes()[: 4 * _ENOUGH_CHARACTERS]
    except OSError as error:
        raise TextError(f"text {path}: cannot be read ({error.strerror}); give a text file") from None
    if not raw.strip():
        raise TextError(f"text {path}: the file is empty; give a file with text in it")
    try:
        text = raw.decode("utf-8-sig", errors="strict" if len(raw) < 4 * _ENOUGH_CHARACTERS else "ignore")
    except UnicodeDecodeError as error:
        raise TextError(
            f"text {path}: not UTF-8 text (byte {error.start} is no character); "
            "give a plain text, JSON or JSON-lines file"
        ) from None
    if "\0" in text:
        raise TextError(f"text {path}: a binary file; give a plain text, JSON or JSON-lines file")
    if file.suffix in {".json", ".jsonl"}:
        texts = _json_texts(text, file.suffix == ".jsonl", path)
    else:
        texts = [text]
    if not any(t.strip() for t in texts):
        raise TextError(f"text {path}: holds no text; give a file with text in it")
    return texts


def read_dataset(spec: str) -> list[str]:
    """Texts of a Hugging Face dataset given as `name[,configuration][,split][,column]`.

    The split is `train` and the column the first of the usual names where they are left out.

    Raises:
        TextError: no such dataset, split or column.
    """
    import datasets

    name, *rest = [part.strip() for part in spec.split(",")]
    configuration, split, column = (*rest, *[""] * 3)[:3]
    try:
        rows = datasets.load_dataset(name, configuration or None, split=split or "train")
    except Exception as error:  # datasets raises its own and its backends' kinds alike
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TextError(f"dataset {spec}: cannot be loaded ({reason})") from None
    names = list(rows.column_names or [])
    if not column:
        column = next((c for c in _DATASET_COLUMNS if c in names), "")
    if column not in names:
        raise TextError(
            f"dataset {spec}: no text column; name one as the fourth part, out of {', '.join(names)}"
        )
    texts, length = [], 0
    for row in rows:
        texts.append(str(row[column]))  # type: ignore[index]
        length += len(texts[-1])
        if length > _ENOUGH_CHARACTERS:
            break
    return texts


def tokenise(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Int[np.ndarray, "N"]:
    """One stream of token ids, documents parted by the end-of-text token where there is one."""
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    parts = [np.asarray([*ids, *end], dtype=np.int64) for ids in encoded]  # type: ignore[union-attr]
    stream = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return stream[: len(stream) - len(end)]


def cut_sequences(
    stream: Int[np.ndarray, "N"],
    *,
    sequences: int,
    length: int,
    source: str,
    bos: int | None = None,
) -> TokenText:
    """At most `sequences` rows of `length` tokens, evenly spread over the stream.

    Args:
        stream: token ids.
        sequences: rows wanted; fewer come back where the stream is shorter.
        length: tokens a row, `bos` included.
        source: where the text came from.
        bos: id put first in every row, for models that need one.

    Raises:
        TextError: the stream is shorter than one row.
    """
    body = length - (bos is not None)
    available = len(stream) // body
    if available < 1:
        raise TextError(
            f"text {source}: {len(stream)} tokens are shorter than one sequence of {length}; "
            "give a longer text or a smaller --sequence-length"
        )
    rows = stream[: available * body].reshape(available, body)
    chosen = np.unique(np.linspace(0, available - 1, min(sequences, available)).round().astype(int))
    rows = rows[chosen]
    if bos is not None:
        rows = np.concatenate([np.full((len(rows), 1), bos), rows], axis=1)
    return TokenText(np.ascontiguousarray(rows, dtype=np.int64), source)


def _json_texts(text: str, lines: bool, path: str) -> list[str]:
    try:
        items = [json.loads(x) for x in text.splitlines() if x.strip()] if lines else json.loads(text)
    except json.JSONDecodeError as error:
        raise TextError(f"text {path}: not valid JSON ({error.msg}, line {error.lineno})") from None
    if isinstance(items, str):
        items = [items]
    if not isinstance(items, Sequence):
        raise TextError(f"text {path}: expected a JSON list of strings or of objects with a text")
    texts = []
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict):
            item = next((item[c] for c in _DATASET_COLUMNS if c in item), None)
        if not isinstance(item, str):
            raise TextError(
                f"text {path}: item {number} is neither a string nor an object with one of "
                f"{', '.join(_DATASET_COLUMNS)}"
            )
        texts.append(item)
    return texts
