"""Text of the machine's own Python installation, split by file into train, calibration, held-out.

Documents are the source files of the standard library (docstrings included) and the topics of
`pydoc`. A document's split depends on its name alone, so a file that is in two Python versions
is in the same split of both, and no file is in two splits.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

__all__ = ["SPLITS", "CorpusError", "Document", "Split", "documents", "split_of", "split_text"]

Split = Literal["train", "calibration", "heldout"]
SPLITS: tuple[Split, ...] = get_args(Split)

_SKIPPED_FOLDERS = {"site-packages", "dist-packages", "__pycache__", "lib2to3", "cjkencodings"}
# Tables of numbers and generated lists: long, and nothing to learn language from.
_SKIPPED_PREFIXES = (
    "encodings/cp",
    "encodings/iso",
    "encodings/mac",
    "encodings/koi8",
    "_sysconfigdata",
)
_LONGEST_DOCUMENT = 400_000


class CorpusError(RuntimeError):
    """The Python installation does not hold its standard library as source files."""


@dataclass(frozen=True)
class Document:
    """One file or pydoc topic: its name (path in the standard library) and its text."""

    name: str
    text: str


def split_of(name: str) -> Split:
    """The split that a document belongs to: 90 % train, 5 % calibration, 5 % held-out by name.

    Tests of the standard library are for training only: distributions often leave them out, and
    the calibration text should not depend on that.
    """
    if name.startswith("test/") or "/test" in name:
        return "train"
    bucket = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 20
    return "calibration" if bucket == 0 else "heldout" if bucket == 1 else "train"


def documents(split: Split | None = None) -> Iterator[Document]:
    """Documents of one split (or of all) in the order of their names.

    Raises:
        CorpusError: the standard library is not there as source files.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = {path.relative_to(library).as_posix(): path for path in _sources(library)}
    if len(paths) < 100:
        raise CorpusError(
            f"no standard library source under {library}: the demo text needs it; "
            "install Python with its library sources or pass --calibration FILE"
        )
    for name in sorted(paths):
        if name == "pydoc_data/topics.py":
            yield from _topics(split)
            continue
        if split is not None and split_of(name) != split:
            continue
        if name.startswith(_SKIPPED_PREFIXES):
            continue
        try:
            text = paths[name].read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        if 200 < len(text) < _LONGEST_DOCUMENT:
            yield Document(name, text)


def _sources(library: Path) -> Iterator[Path]:
    """Python files of a library; installed packages, which may be many, are not walked through."""
    for folder, inner, files in os.walk(library):
        inner[:] = [name for name in inner if name not in _SKIPPED_FOLDERS]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def split_text(split: Split) -> list[str]:
    """Texts of one split."""
    return [document.text for document in documents(split)]


def _topics(split: Split | None) -> Iterator[Document]:
    from pydoc_data.topics import topics

    for topic in sorted(topics):
        name = f"pydoc_data/topics.py#{topic}"
        if split is None or split_of(name) == split:
            yield Document(name, topics[topic])
