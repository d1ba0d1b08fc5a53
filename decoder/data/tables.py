"""Text out of a column of a table: CSV, TSV or Parquet, never its separators and numbers."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from decoder.errors import TextError

__all__ = ["TABLES", "read_table", "table_of", "text_column"]

TABLES = (".csv", ".tsv", ".parquet")
"""Endings of files that are read as tables."""

_COLUMNS = ("text", "content", "sentence", "story", "article", "document")
_LONGEST_FIELD = 2**30


def table_of(source: str) -> tuple[Path, str] | None:
    """Tell file and column of a table, given as `FILE` or `FILE,COLUMN`.

    Args:
        source: what a person wrote.

    Returns:
        The path and the column's name, empty where none is given; None where it is no table.
    """
    path = Path(source).expanduser()
    if path.suffix.lower() in TABLES:
        return path, ""
    file, comma, column = source.rpartition(",")
    path = Path(file).expanduser()
    if comma and path.suffix.lower() in TABLES:
        return path, column.strip()
    return None


def read_table(path: Path, column: str, most: int) -> list[str]:
    """Read the texts of a column, one a row.

    Args:
        path: the file; its ending tells its kind.
        column: name of the column; where empty, the first of the usual names or the only one.
        most: characters after which no more rows are read.

    Raises:
        TextError: it cannot be read, or has no such column, or the column holds no text.
    """
    try:
        rows = _parquet(path, column) if path.suffix.lower() == ".parquet" else _csv(path, column)
        texts, length = [], 0
        for text in rows:
            texts.append(text)
            length += len(text)
            if length > most:
                break
    except OSError as error:
        raise TextError(
            f"text {path}: cannot be read ({error.strerror or error}); give a text file"
        ) from None
    except UnicodeDecodeError as error:
        raise TextError(
            f"text {path}: not UTF-8 text (byte {error.start} is no character); save it as UTF-8"
        ) from None
    except csv.Error as error:
        raise TextError(f"text {path}: not a table ({error}); mend it, or name it .txt") from None
    if not any(text.strip() for text in texts):
        raise TextError(f"text {path}: the column holds no text; name another as {path},COLUMN")
    if all(_is_number(text) for text in texts):
        raise TextError(
            f"text {path}: the column holds numbers, not text; name another as {path},COLUMN"
        )
    return texts


def text_column(names: Sequence[str], column: str, source: object) -> str:
    """Choose the column that holds the text.

    Args:
        names: the table's columns.
        column: what a person asked for; empty where nothing was.
        source: the file, for messages.

    Raises:
        TextError: there is no such column, or it is not clear which one is meant.
    """
    listed = ", ".join(names) or "none"
    if column and column not in names:
        raise TextError(f"text {source}: no column {column}; its columns are {listed}")
    usual = [name for name in _COLUMNS if name in names]
    found = column or (usual[0] if usual else names[0] if len(names) == 1 else "")
    if not found:
        raise TextError(
            f"text {source}: a table without a column called {' or '.join(_COLUMNS[:2])}; name "
            f"one as {source},COLUMN, out of {listed}"
        )
    return found


def _csv(path: Path, column: str) -> Iterator[str]:
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(file.readline())
            file.seek(0)
            rows = csv.DictReader(file, delimiter=delimiter)
            name = text_column(list(rows.fieldnames or []), column, path)
            for row in rows:
                yield row[name] or ""
    finally:
        csv.field_size_limit(before)


def _delimiter(head: str) -> str:
    """What parts the names of the first line: a comma, or the semicolon of some spreadsheets."""
    return max(",;\t", key=head.count)


def _parquet(path: Path, column: str) -> Iterable[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        name = text_column(file.schema_arrow.names, column, path)
        for batch in file.iter_batches(columns=[name]):
            for text in batch.column(0).to_pylist():
                yield "" if text is None else str(text)
    except pyarrow.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise TextError(f"text {path}: no Parquet table ({reason}); save it again") from None


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return not text.strip()
