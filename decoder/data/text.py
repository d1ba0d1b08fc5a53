"""Text to measure on: files, Hugging Face datasets or strings, cut into token sequences."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int

from decoder.data.tables import read_table, table_of
from decoder.errors import TextError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "TokenStream",
    "TokenText",
    "check_readable",
    "cut_sequences",
    "read_dataset",
    "read_file",
    "text_fingerprint",
    "tokenise",
]

_DATASET_COLUMNS = ("text", "content", "sentence", "story", "article", "document")
_ENOUGH_CHARACTERS = 20_000_000
_MOST_BYTES = 4 * _ENOUGH_CHARACTERS


@dataclass(frozen=True)
class TokenText:
    """Token sequences of one length.

    Attributes:
        tokens: Int64[S, T], one sequence a row.
        source: where the text came from, for people.
        scored: Bool[S, T], which tokens are predicted and scored; all but the first when omitted.
    """

    tokens: Int[np.ndarray, "S T"]
    source: str
    scored: Bool[np.ndarray, "S T"] | None = None

    @property
    def predicted(self) -> Int[np.ndarray, "S"]:
        """Tokens of each sequence that are predicted and scored; its first one never is."""
        if self.scored is None:
            return np.full(len(self.tokens), self.tokens.shape[1] - 1)
        return self.scored[:, 1:].sum(axis=1)

    def first(self, sequences: int) -> TokenText:
        """The first sequences alone."""
        scored = None if self.scored is None else self.scored[:sequences]
        return TokenText(self.tokens[:sequences], self.source, scored)


@dataclass(frozen=True)
class TokenStream:
    """Tokens of a text in one line, before they are cut into sequences.

    Attributes:
        tokens: Int64[N].
        scored: Bool[N], which of them are scored; all when omitted.
    """

    tokens: Int[np.ndarray, "N"]
    scored: Bool[np.ndarray, "N"] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, part: slice) -> TokenStream:
        """A stretch of it."""
        return TokenStream(self.tokens[part], None if self.scored is None else self.scored[part])


def read_file(path: str) -> list[str]:
    """Texts of a plain text file, of JSON lines (strings, or objects with a text field) or JSON.

    Of a text or JSON-lines file of more than 80 MB, the first 80 MB are read. Of a table (CSV, TSV,
    Parquet) it is one column: the one of a usual name, or the one named as `FILE,COLUMN`.

    Raises:
        TextError: the file is missing, empty, binary or has no text.
    """
    if (table := table_of(path)) is not None:
        return read_table(*table, _ENOUGH_CHARACTERS)
    check_readable(path)
    file = Path(path).expanduser()
    with file.open("rb") as stream:
        raw = stream.read(_MOST_BYTES + 1)
    if not raw.strip():
        raise TextError(f"text {path}: the file is empty; give a file with text in it")
    cut, raw = len(raw) > _MOST_BYTES, raw[:_MOST_BYTES]
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(raw, final=not cut)
    except UnicodeDecodeError as error:
        raise TextError(
            f"text {path}: not UTF-8 text (byte {error.start} is no character); "
            "give a plain text, JSON or JSON-lines file"
        ) from None
    if "\0" in text:
        raise TextError(f"text {path}: a binary file; give a plain text, JSON or JSON-lines file")
    if file.suffix == ".jsonl":
        # Not splitlines, which also cuts at characters that JSON strings may hold as they are.
        texts = _texts_of(_json_lines(text.split("\n")[: -1 if cut else None], path), path)
    elif file.suffix == ".json":
        if cut:
            raise TextError(f"text {path}: JSON of more than 80 MB; give it as JSON lines (.jsonl)")
        texts = _texts_of(_json(text, path), path)
    else:
        texts = [text]
    if not any(t.strip() for t in texts):
        raise TextError(f"text {path}: holds no text; give a file with text in it")
    return texts


def check_readable(source: str) -> None:
    """Refuse a source of text that is no file, without reading it.

    Args:
        source: as `read_file` takes it.

    Raises:
        TextError: there is no such file, or it cannot be opened.
    """
    table = table_of(source)
    path = Path(source).expanduser() if table is None else table[0]
    if path.is_dir():
        raise TextError(f"text {source}: is a directory; name the file or files in it")
    try:
        path.open("rb").close()
    except OSError as error:
        raise TextError(
            f"text {source}: cannot be read ({error.strerror}); give a text file"
        ) from None


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
            f"dataset {spec}: no text column; name one as the fourth part: {', '.join(names)}"
        )
    texts, length = [], 0
    for row in rows:
        text = row[column]  # type: ignore[index]
        if text is not None and not isinstance(text, str):
            raise TextError(
                f"dataset {spec}: column {column} holds {type(text).__name__} values, not text; "
                f"name a text column as the fourth part, out of {', '.join(names)}"
            )
        texts.append(text or "")
        length += len(texts[-1])
        if length > _ENOUGH_CHARACTERS:
            break
    if not any(t.strip() for t in texts):
        raise TextError(f"dataset {spec}: column {column} holds no text; name another one")
    return texts


def tokenise(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> Int[np.ndarray, "N"]:
    """One stream of token ids, documents parted by the end-of-text token where there is one."""
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    parts = [np.asarray([*ids, *end], dtype=np.int64) for ids in encoded]  # type: ignore[union-attr]
    stream = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    return stream[: len(stream) - len(end)]


def cut_sequences(
    stream: TokenStream | Int[np.ndarray, "N"],
    *,
    sequences: int,
    length: int,
    source: str,
    bos: int | None = None,
) -> TokenText:
    """At most `sequences` rows of `length` tokens, evenly spread over the stream.

    Args:
        stream: token ids. Of rows in which nothing is scored none is taken.
        sequences: rows wanted; fewer come back where the stream is shorter.
        length: tokens a row, `bos` included.
        source: where the text came from.
        bos: id put first in every row, for models that need one.

    Raises:
        TextError: the stream is shorter than one row, or a row has nothing to predict.
    """
    if length < 2:
        raise TextError(
            f"--sequence-length {length}: at least 2 tokens; only the rest is predicted"
        )
    if sequences < 1:
        raise TextError(f"--sequences {sequences}: at least 1 is needed")
    stream = stream if isinstance(stream, TokenStream) else TokenStream(stream)
    body = length - (bos is not None)
    available = len(stream) // body
    if available < 1:
        raise TextError(
            f"text {source}: {len(stream)} tokens are shorter than one sequence of {length}; "
            "give a longer text or a smaller --sequence-length"
        )
    rows = stream.tokens[: available * body].reshape(available, body)
    scored = None
    if stream.scored is not None:
        scored = stream.scored[: available * body].reshape(available, body)
        useful = scored[:, int(bos is None) :].any(axis=1)
        rows, scored = rows[useful], scored[useful]
        if not len(rows):
            raise TextError(f"text {source}: no sequence of {length} tokens holds an answer")
    last = len(rows) - 1
    chosen = np.unique(np.linspace(0, last, min(sequences, len(rows))).round().astype(int))
    rows, scored = rows[chosen], None if scored is None else scored[chosen]
    if bos is not None:
        rows = np.concatenate([np.full((len(rows), 1), bos), rows], axis=1)
        if scored is not None:
            scored = np.concatenate([np.zeros((len(rows), 1), dtype=bool), scored], axis=1)
    return TokenText(np.ascontiguousarray(rows, dtype=np.int64), source, scored)


def text_fingerprint(tokens: Int[np.ndarray, "S T"]) -> str:
    """Hex digest of the token ids and their shape."""
    digest = hashlib.blake2b(f"{tokens.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(tokens, dtype="<i8").data)
    return digest.hexdigest()


def _json(text: str, path: str) -> Sequence[Any]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise _not_json(path, error.msg, error.lineno) from None
    if isinstance(items, str):
        return [items]
    if not isinstance(items, list):
        raise TextError(f"text {path}: expected a JSON list of strings or of objects with a text")
    return items


def _json_lines(lines: Sequence[str], path: str) -> list[Any]:
    items = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                items.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise _not_json(path, error.msg, number) from None
    return items


def _not_json(path: str, reason: str, line: int) -> TextError:
    return TextError(
        f"text {path}: not valid JSON ({reason}, line {line}); mend it, or name plain text .txt"
    )


def _texts_of(items: Sequence[Any], path: str) -> list[str]:
    texts = []
    for number, item in enumerate(items, start=1):
        value = item
        if isinstance(value, dict):
            value = next((value[c] for c in _DATASET_COLUMNS if c in value), None)
        if not isinstance(value, str):
            raise TextError(
                f"text {path}: item {number} is neither a string nor an object with one of "
                f"{', '.join(_DATASET_COLUMNS)}"
            )
        texts.append(value)
    return texts
