"""Sets of players as people give them to Python: numbers, names, text, or many of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool

from layershap.errors import UserError

__all__ = ["Sets", "read_sets"]


@dataclass(frozen=True, eq=False)
class Sets:
    """Coalitions that were asked for.

    Attributes:
        rows: True = kept.
        many: whether a list of sets was given, not one.
    """

    rows: Bool[np.ndarray, "B n"]
    many: bool


def read_sets(
    players: Sequence[str],
    find: Callable[[str], Sequence[int]],
    remove: Any = None,
    keep: Any = None,
) -> Sets:
    """Reads ``remove`` or ``keep``.

    Args:
        players: names in depth order.
        find: player indices of a text in the command line's grammar; a ValueError otherwise.
        remove: one set or a list of sets. A set is a text as ``"4,6"`` or ``"L4.attn"``, a number,
            or a list of numbers and names. Numbers are layers, as on the command line.
        keep: the same of what stays; or boolean coalitions ``[n]`` or ``[B, n]``, True = kept.

    Raises:
        UserError: both or neither is given, or one names no players.
    """
    if (remove is None) == (keep is None):
        raise UserError("remove, keep: give exactly one, as remove=[4, 6] or keep='0-3,5-11'")
    n = len(players)
    argument, given = ("remove", remove) if keep is None else ("keep", keep)
    table = given if isinstance(given, np.ndarray) else None
    if table is not None and table.dtype == np.bool_:
        if argument == "remove":
            raise UserError("remove: boolean arrays tell who is kept; give them as keep")
        if table.ndim not in (1, 2) or table.shape[-1] != n:
            raise UserError(
                f"keep: boolean arrays must be [{n}] or [B, {n}], got {list(table.shape)}"
            )
        return Sets(np.atleast_2d(table).copy(), table.ndim == 2)
    index = {name: (place,) for place, name in enumerate(players)}

    @cache
    def found(text: str) -> tuple[int, ...]:
        # What is a player's own name needs no grammar.
        parts = [index.get(part, index.get(f"L{part}", ())) for part in text.split(",")]
        if all(parts):
            return tuple(player for part in parts for player in part)
        try:
            return tuple(find(text))
        except ValueError as error:
            raise UserError(f"{argument} {text}: {error}") from None

    texts, many = _texts(given, argument, n)
    rows = np.zeros((len(texts), n), dtype=bool)
    for row, text in zip(rows, texts, strict=True):
        row[list(found(text)) if text else []] = True
    return Sets(rows if argument == "keep" else ~rows, many)


def _texts(given: Any, argument: str, n: int) -> tuple[list[str], bool]:
    """Each set as text, and whether a list of sets was given."""
    if _single(given):
        return [_text(given, argument)], False
    if not _several(given):
        raise _unclear(given, argument)
    parts = list(given)
    if all(_single(part) for part in parts):
        return [_joined(parts, argument, n)], False
    if not all(_several(part) for part in parts):
        raise _unclear(given, argument)
    sets = [list(part) for part in parts]
    for one in sets:
        if not all(_single(part) for part in one):
            raise _unclear(one, argument)
    return [_joined(one, argument, n) for one in sets], True


def _joined(parts: Sequence[Any], argument: str, n: int) -> str:
    """One set as text; what may well be meant as something else is refused."""
    if len(parts) == n > 2 and all(part in (0, 1) and not isinstance(part, bool) for part in parts):
        raise UserError(
            f"{argument}: got {n} numbers that are all 0 or 1; give sets as boolean arrays,"
            " as keep=rows.astype(bool)"
        )
    for part in parts:
        if isinstance(part, str) and "," in part and len(parts) > 1:
            raise UserError(
                f"{argument}: got {part!r} in a list; write one set as [4, 6],"
                " many as [[4, 6], [2, 7]]"
            )
    return ",".join(_text(part, argument) for part in parts)


def _single(part: Any) -> bool:
    return isinstance(part, str | int | np.integer | np.bool_)


def _several(given: Any) -> bool:
    return isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)


def _text(part: Any, argument: str) -> str:
    if isinstance(part, bool | np.bool_):
        raise UserError(f"{argument}: got {part}; name players, or give a boolean array as keep")
    if not isinstance(part, str) and part < 0:
        raise UserError(f"{argument}: got {part}; layers are numbered from 0 at the input")
    return part.strip() if isinstance(part, str) else str(part)


def _unclear(given: Any, argument: str) -> UserError:
    return UserError(
        f"{argument}: got {type(given).__name__} {str(given)[:40]!r}; give a set as [4, 6],"
        f" '4,6' or ['L4.attn'], or a list of such lists"
    )
