"""Coalitions as boolean rows: keys, packed and text forms, order, enumeration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt8, UInt64

__all__ = [
    "distinct",
    "empty",
    "enumerate_all",
    "from_keys",
    "from_text",
    "full",
    "keys",
    "lexicographic_order",
    "pack",
    "to_text",
    "unpack",
    "without",
]

MOST_ENUMERABLE = 24


def full(n: int) -> Bool[np.ndarray, "n"]:
    """Returns the coalition that keeps all ``n`` players."""
    return np.ones(_players(n), dtype=bool)


def empty(n: int) -> Bool[np.ndarray, "n"]:
    """Returns the coalition that keeps nobody."""
    return np.zeros(_players(n), dtype=bool)


def without(n: int, removed: Sequence[int]) -> Bool[np.ndarray, "n"]:
    """Returns the coalition of ``n`` players that lacks those in ``removed``.

    Raises:
        ValueError: if an index is outside ``0 .. n-1``.
    """
    coalition = full(n)
    for player in removed:
        if not 0 <= player < n:
            raise ValueError(f"removed has player {player}; players are 0 to {n - 1}")
        coalition[player] = False
    return coalition


def keys(coalitions: Bool[np.ndarray, "B n"]) -> list[bytes]:
    """Returns one canonical key a row: its bits packed little-endian, ``ceil(n / 8)`` bytes."""
    packed = pack(coalitions)
    width, data = packed.shape[1], packed.tobytes()
    return [data[start : start + width] for start in range(0, len(data), width)]


def from_keys(keys: Sequence[bytes], n: int) -> Bool[np.ndarray, "B n"]:
    """Returns the coalitions behind keys of ``n`` players; the inverse of :func:`keys`.

    Raises:
        ValueError: if a key has the wrong number of bytes or names a player beyond ``n``.
    """
    width = (_players(n) + 7) // 8
    for key in keys:
        if len(key) != width:
            raise ValueError(f"keys has one of {len(key)} bytes, {n} players need {width}; check n")
    packed = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), width)
    return unpack(packed, n)


def pack(coalitions: Bool[np.ndarray, "B n"]) -> UInt8[np.ndarray, "B w"]:
    """Returns the bits of each row, player 0 the lowest bit of the first of ``ceil(n / 8)`` bytes.

    Bits beyond the last player are 0.
    """
    return np.packbits(_rows(coalitions), axis=1, bitorder="little")


def unpack(packed: UInt8[np.ndarray, "B w"], n: int) -> Bool[np.ndarray, "B n"]:
    """Returns the coalitions of ``n`` players behind packed rows; the inverse of :func:`pack`.

    Raises:
        ValueError: if the rows have the wrong number of bytes or a bit beyond the last player.
    """
    width = (_players(n) + 7) // 8
    if packed.ndim != 2 or packed.shape[1] != width:
        raise ValueError(
            f"packed has shape {list(packed.shape)}, {n} players need {width} bytes a row; check n"
        )
    bits = np.unpackbits(packed, axis=1, bitorder="little").astype(bool)
    if (beyond := bits[:, n:].any(axis=1)).any():
        raise ValueError(
            f"packed row {int(beyond.argmax())} keeps a player beyond the {n} players; check n"
        )
    return np.ascontiguousarray(bits[:, :n])


def to_text(coalitions: Bool[np.ndarray, "B n"]) -> list[str]:
    """Returns a text a row, one digit a player in depth order: 1 kept, 0 removed."""
    rows = _rows(coalitions)
    n, letters = rows.shape[1], (rows.astype(np.uint8) + ord("0")).tobytes().decode("ascii")
    return [letters[row * n : (row + 1) * n] for row in range(len(rows))]


def from_text(texts: Sequence[str], n: int) -> Bool[np.ndarray, "B n"]:
    """Returns the coalitions of ``n`` players behind texts; the inverse of :func:`to_text`.

    Raises:
        ValueError: if a text is not ``n`` digits 0 or 1, named by its place.
    """
    joined = "".join(texts)
    codes = np.frombuffer(joined.encode("utf-8", "replace"), dtype=np.uint8) - ord("0")
    same = set(map(len, texts)) <= {_players(n)}
    if not same or len(codes) != len(joined) or (codes > 1).any():
        place = next(p for p, text in enumerate(texts) if len(text) != n or set(text) - {"0", "1"})
        raise ValueError(f"texts[{place}]: must be {n} characters 0 or 1, one a player")
    return codes.astype(bool).reshape(len(texts), n)


def distinct(coalitions: Bool[np.ndarray, "B n"]) -> Bool[np.ndarray, "D n"]:
    """Returns the rows without duplicates, in the order in which they were first seen."""
    rows = _rows(coalitions)
    if len(rows) < 2:
        return rows.copy()
    words = _words(rows)
    order = np.lexsort(words.T[::-1])
    ordered = words[order]
    fresh = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    return rows[np.sort(order[fresh])]  # lexsort is stable: the first of equals comes first


def lexicographic_order(coalitions: Bool[np.ndarray, "B n"]) -> Int[np.ndarray, "B"]:
    """Returns the order in which neighbours share the longest possible prefix of decisions.

    Rows are compared player by player from player 0 (dropped before kept), which is the
    depth-first order of the binary tree of decisions: a walk in this order visits each distinct
    prefix exactly once. Equal rows stay in their given order.
    """
    return np.lexsort(_words(_rows(coalitions)).T[::-1])


def enumerate_all(n: int) -> Bool[np.ndarray, "M n"]:
    """Returns all ``2^n`` coalitions; row ``i`` holds the bits of ``i``, bit ``j`` is player ``j``.

    Raises:
        ValueError: if ``n`` is above 24, where the table would no longer fit in memory.
    """
    if _players(n) > MOST_ENUMERABLE:
        raise ValueError(
            f"n must be at most {MOST_ENUMERABLE} to enumerate 2^n coalitions, got {n};"
            " sample coalitions instead"
        )
    numbers = np.arange(1 << n, dtype="<u4").view(np.uint8).reshape(-1, 4)
    return np.unpackbits(numbers, axis=1, count=n, bitorder="little").astype(bool)


def _players(n: int) -> int:
    if n < 1:
        raise ValueError(f"n must be at least 1 player, got {n}")
    return n


def _rows(coalitions: Bool[np.ndarray, "B n"]) -> Bool[np.ndarray, "B n"]:
    rows = np.asarray(coalitions)
    if rows.ndim != 2 or rows.dtype != np.bool_:
        raise ValueError(
            f"coalitions must be a boolean array [B, n], got {rows.dtype} {list(rows.shape)};"
            " pass one row a coalition, True = kept"
        )
    return rows


def _words(rows: Bool[np.ndarray, "B n"]) -> UInt64[np.ndarray, "B w"]:
    """Packs rows into 64-bit words that compare as the rows do, player 0 first."""
    packed = np.packbits(rows, axis=1, bitorder="big")
    padded = np.zeros((len(rows), -(-packed.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(">u8").astype(np.uint64)
