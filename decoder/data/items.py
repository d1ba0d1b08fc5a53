"""Multiple-choice items: read from a file, and parted into those to search and to verify with."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoder.errors import TaskError
from sampling import stream

__all__ = ["ChoiceItem", "read_choices", "split_items"]

_KEYS = "query, choices, gold"
_HALF_PAIR = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class ChoiceItem:
    """One question and its possible answers.

    Attributes:
        query: the question, or the text to go on with; may be empty.
        choices: at least two answers, none of them empty.
        gold: position of the right answer, from 0.

    Raises:
        TaskError: too few choices, an empty one, or no choice at `gold`.
    """

    query: str
    choices: tuple[str, ...]
    gold: int

    def __post_init__(self) -> None:
        if len(self.choices) < 2:
            raise TaskError(f"choices: at least two are needed, got {len(self.choices)}; add some")
        if not all(self.choices):
            raise TaskError(
                f"choices: number {self.choices.index('')} (from 0) is empty; give it text"
            )
        if not 0 <= self.gold < len(self.choices):
            raise TaskError(
                f"gold: must be 0 to {len(self.choices) - 1}, the position of the right choice, "
                f"got {self.gold}"
            )


def read_choices(path: str) -> list[ChoiceItem]:
    """Items of a JSON-lines file: objects with `query`, `choices` and `gold`.

    Raises:
        TaskError: the file cannot be read or has no items, or a line is no such object; names the
            file and the line.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise TaskError(f"task {path}: is a directory; name a JSON-lines file in it")
    items = []
    try:
        # Lines of bytes end at line feeds only; JSON strings may hold the other line separators.
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        items.append(_read_item(line, first=number == 1))
                    except TaskError as error:
                        raise TaskError(f"task {path}: line {number}: {error}") from None
    except OSError as error:
        raise TaskError(
            f"task {path}: cannot be read ({error.strerror}); give a JSON-lines file"
        ) from None
    if not items:
        raise TaskError(f"task {path}: holds no items; give one JSON object a line, with {_KEYS}")
    return items


def split_items(
    items: Sequence[ChoiceItem], calibration: int, heldout: int, seed: int
) -> tuple[list[ChoiceItem], list[ChoiceItem]]:
    """Items to search with and items to verify with, at random, in the order of `items`.

    No question is in both: an item that is there twice counts once. Where there are fewer items
    than wanted, both parts shrink in proportion. Asking for more calibration items changes no
    held-out item as long as there are enough of both.

    Args:
        items: all items.
        calibration: items wanted in the first part, at least 1.
        heldout: items wanted in the second part, at least 1.
        seed: decides which; the stream is "choice items".

    Raises:
        TaskError: fewer than 2 different items, or a part of less than 1.
    """
    for argument, wanted in (("calibration", calibration), ("heldout", heldout)):
        if wanted < 1:
            raise TaskError(f"{argument}: at least 1 item is needed, got {wanted}")
    distinct: dict[tuple[str, tuple[str, ...]], ChoiceItem] = {}
    for item in items:
        distinct.setdefault((item.query, item.choices), item)
    once = list(distinct.values())
    if len(once) < 2:
        raise TaskError(
            f"items: {len(once)} different ones cannot be parted into calibration and held-out; "
            "give at least 2"
        )
    if calibration + heldout > len(once):
        share = round(len(once) * calibration / (calibration + heldout))
        calibration = min(max(share, 1), len(once) - 1)
        heldout = len(once) - calibration
    order = stream(seed, "choice items").permutation(len(once))
    parts = order[:calibration], order[len(once) - heldout :]
    first, second = ([once[i] for i in sorted(part.tolist())] for part in parts)
    return first, second


def _read_item(line: bytes, *, first: bool) -> ChoiceItem:
    """The item of one line; TaskErrors leave file and line to the caller."""
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise TaskError("not UTF-8 text, perhaps a binary file; give JSON lines")
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise TaskError(f"not valid JSON ({error.msg}, column {error.colno}); mend it") from None
    except (ValueError, RecursionError):  # numbers of thousands of digits, brackets without end
        raise TaskError(f"not readable JSON; give an object with {_KEYS}") from None
    if not isinstance(found, dict):
        raise TaskError(f"not an object; give one with {_KEYS}")
    missing = [key for key in ("query", "choices", "gold") if key not in found]
    if missing:
        raise TaskError(f"no {' and no '.join(missing)}; give an object with {_KEYS}")
    query, choices, gold = found["query"], found["choices"], found["gold"]
    if not isinstance(choices, list):
        raise TaskError(f"choices: must be a list of strings, got {_kind(choices)}")
    texts = {"query": query} | {f"choices: number {i}": c for i, c in enumerate(choices)}
    for name, value in texts.items():
        if not isinstance(value, str):
            raise TaskError(f"{name}: must be a string, got {_kind(value)}")
        if _HALF_PAIR.search(value):
            raise TaskError(f"{name}: holds half of a surrogate pair, which is no text; mend it")
    if not isinstance(gold, int) or isinstance(gold, bool):
        raise TaskError(f"gold: must be a whole number, the right choice's, got {_kind(gold)}")
    return ChoiceItem(query, tuple(choices), gold)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string"}
    return names.get(type(value)) or json.dumps(value)
