"""A table that fits its terminal: what matters most is never shortened."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["fitted"]

_AROUND = 3  # a border and two blanks a column, and one border more in all


def fitted(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    spare: Sequence[str] = (),
) -> tuple[list[str], list[list[str]]]:
    """Fits a table into a width: headings over several lines, then fewer columns, then longer rows.

    Args:
        columns: headings.
        rows: cells; those of the first column may be lists parted by commas.
        width: of the terminal, in characters.
        spare: headings of columns that may go, the first to go first.

    Returns:
        headings and rows, with line breaks inside of cells; no figure and no name is cut.
    """
    names = list(columns)
    cells = [list(row) for row in rows]
    if _width(names, cells) <= width:
        return names, cells
    heads = [_stacked(name) for name in names]
    left = [name for name in spare if name in names]
    while left and _width(heads, cells, least=True) > width:
        at = names.index(left.pop(0))
        for row in (names, heads, *cells):
            del row[at]
    others = _width(heads[1:], [row[1:] for row in cells]) + _AROUND
    room = max(width - others, _widest(heads[0]), 1)
    return heads, [[_folded(row[0], room), *row[1:]] for row in cells]


def _width(heads: Sequence[str], rows: Sequence[Sequence[str]], least: bool = False) -> int:
    """Of the whole table; with the first column at its least where that is asked."""
    total = 1
    for at, head in enumerate(heads):
        texts = [head, *(row[at] for row in rows)]
        if least and at == 0:
            texts = [part for text in texts for part in _parts(text)]
        total += _AROUND + max(map(_widest, texts))
    return total


def _widest(text: str) -> int:
    return max(map(len, text.split("\n")))


def _stacked(head: str) -> str:
    """One word a line; what stands in brackets stays together."""
    name, bracket, rest = head.partition(" (")
    return "\n".join([*name.split(" "), *([f"({rest}"] if bracket else [])])


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    return [f"{part}," for part in parts[:-1]] + parts[-1:]


def _folded(text: str, room: int) -> str:
    lines = [""]
    for part in _parts(text):
        if lines[-1] and len(lines[-1]) + len(part) > room:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)
