"""Tasks of one's own for lm-evaluation-harness, read from local files.

Three kinds, told apart by what the file holds: multiple choice (JSON lines with `query`, `choices`
and `gold`), words to predict (JSON lines with `context` and `continuation`), and running text (JSON
lines with `text`, or any other text file).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from decoder.data.choices import fitting_items, read_choices
from layershap.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Kind", "LocalTask", "read_task"]

Kind = Literal["choices", "continuation", "text"]

_FORMATS = {
    "choices": ("query", "choices", "gold"),
    "continuation": ("context", "continuation"),
    "text": ("text",),
}
_KNOWN = "; ".join(", ".join(keys) for keys in _FORMATS.values())
_PIECE = 4000  # characters; a text in pieces has differences with intervals


@dataclass(frozen=True)
class LocalTask:
    """One file as a task.

    Attributes:
        name: the file's name without its ending.
        source: the file.
        kind: what is asked of the model.
        items: one dictionary of plain values each, with the keys of its kind.
    """

    name: str
    source: str
    kind: Kind
    items: tuple[dict[str, Any], ...]

    def fitting(self, tokenizer: PreTrainedTokenizerBase, context: int) -> LocalTask:
        """The task without the items whose answers are longer than a model's context.

        Raises:
            UserError: none fits.
        """
        items = self.items
        if self.kind == "choices":
            wanted = read_choices(self.source)
            fitting = set(fitting_items(wanted, tokenizer, context=context))
            items = tuple(
                item for item, choice in zip(items, wanted, strict=True) if choice in fitting
            )
        elif self.kind == "continuation":
            items = tuple(
                item
                for item in items
                if len(tokenizer(item["continuation"], verbose=False)["input_ids"]) <= context  # type: ignore[arg-type]
            )
        if not items:
            raise UserError(
                f"--task {self.source}: no item fits the model's context of {context} tokens; "
                "give shorter ones"
            )
        return LocalTask(self.name, self.source, self.kind, items)

    def config(self) -> dict[str, Any]:
        """The task as lm-evaluation-harness describes one; its items are in it."""
        asked: dict[str, Any]
        if self.kind == "choices":
            asked = {
                "output_type": "multiple_choice",
                "doc_to_text": "query",
                "doc_to_choice": "choices",
                "doc_to_target": "gold",
            }
            metrics = {"acc": ("mean", True), "acc_norm": ("mean", True)}
        elif self.kind == "continuation":
            asked = {
                "output_type": "loglikelihood",
                "doc_to_text": "context",
                "doc_to_target": "continuation",
            }
            metrics = {"acc": ("mean", True), "perplexity": ("perplexity", False)}
        else:
            asked = {
                "output_type": "loglikelihood_rolling",
                "doc_to_text": "",
                "doc_to_target": "text",
            }
            metrics = {
                "word_perplexity": ("weighted_perplexity", False),
                "byte_perplexity": ("weighted_perplexity", False),
                "bits_per_byte": ("bits_per_byte", False),
            }
        return {
            "task": self.name,
            "custom_dataset": self._dataset,
            "test_split": "test",
            "num_fewshot": 0,
            **asked,
            "metric_list": [
                {"metric": metric, "aggregation": aggregation, "higher_is_better": higher}
                for metric, (aggregation, higher) in metrics.items()
            ],
        }

    def _dataset(self, **_: Any) -> dict[str, Any]:
        from datasets import Dataset

        return {"test": Dataset.from_list(list(self.items))}


def read_task(path: Path) -> LocalTask:
    """The task of a file.

    Raises:
        UserError: it cannot be read, holds nothing, or a line is not what the first one announces;
            names the line.
        TaskError: the same of multiple choice.
    """
    if path.is_dir():
        raise UserError(f"--task {path}: is a directory; name a file in it")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"--task {path}: cannot be read ({error.strerror}); name a file") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"--task {path}: not UTF-8 text (byte {error.start}); give text or JSON lines"
        ) from None
    if not text.strip():
        raise UserError(f"--task {path}: holds nothing; give text or JSON lines")
    if path.suffix not in {".jsonl", ".json", ".ndjson"}:
        return LocalTask(path.stem, str(path), "text", tuple({"text": t} for t in _pieces(text)))
    # Lines end at line feeds only; JSON strings may hold the other line separators.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    kind = _kind(path, *lines[0])
    if kind == "choices":
        items = [asdict(item) for item in read_choices(str(path))]
    else:
        items = [_item(path, number, line, kind) for number, line in lines]
    return LocalTask(path.stem, str(path), kind, tuple(items))


def _kind(path: Path, number: int, line: str) -> Kind:
    found = _object(path, number, line)
    for kind, keys in _FORMATS.items():
        if keys[0] in found or set(keys) <= set(found):
            return kind  # type: ignore[return-value]
    raise UserError(
        f"--task {path}: line {number}: none of the known formats; give objects with {_KNOWN}"
    )


def _item(path: Path, number: int, line: str, kind: Kind) -> dict[str, Any]:
    found = _object(path, number, line)
    item: dict[str, Any] = {}
    for key in _FORMATS[kind]:
        if not isinstance(found.get(key), str):
            raise UserError(
                f"--task {path}: line {number}: {key} must be a string; give objects with "
                f"{', '.join(_FORMATS[kind])}"
            )
        item[key] = found[key]
    last = _FORMATS[kind][-1]
    if not item[last].strip():
        raise UserError(f"--task {path}: line {number}: {last} is empty; give it text")
    if kind == "continuation":
        apart = item["context"][-1:].isspace() or item["continuation"][:1].isspace()
        if item["context"] and not apart:
            item["continuation"] = f" {item['continuation']}"
    return item


def _object(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f"--task {path}: line {number}: not valid JSON ({error.msg}, column {error.colno}); "
            "mend it"
        ) from None
    except (ValueError, RecursionError):  # numbers of thousands of digits, brackets without end
        raise UserError(f"--task {path}: line {number}: not readable JSON; mend it") from None
    if not isinstance(found, dict):
        raise UserError(f"--task {path}: line {number}: not an object; give objects with {_KNOWN}")
    return found


def _pieces(text: str) -> Iterator[str]:
    """The text, cut at ends of lines into pieces of about the same length."""
    piece: list[str] = []
    for line in text.splitlines(keepends=True):
        piece.append(line)
        if sum(map(len, piece)) >= _PIECE:
            yield "".join(piece)
            piece = []
    rest: Sequence[str] = piece
    if "".join(rest).strip():
        yield "".join(rest)
