"""The regular expression of sets as bits in base64, so that the schema says what is accepted."""

from __future__ import annotations

import math
from itertools import groupby

__all__ = ["packed_pattern"]

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
ANY = "[A-Za-z0-9+/]"


def packed_pattern(players: int) -> str:
    """Returns what any number of packed sets of so many players looks like.

    A set is ceil(players / 8) bytes whose bits beyond the last player are 0. Base64 (RFC 4648)
    turns 3 bytes into 4 characters, so the look repeats after the least common multiple.
    """
    width = -(-players // 8)
    sets = math.lcm(width, 3) // width
    whole = _characters(sets * width, players)
    ends = [_characters(count * width, players) for count in range(1, sets)]
    return f"^({whole})*({'|'.join(ends)})?$" if ends else f"^({whole})*$"


def _characters(length: int, players: int) -> str:
    """Returns the expression of so many bytes, padded to fours."""
    classes = [_class(place, length, players) for place in range(-(-8 * length // 6))]
    parts = []
    for text, run in groupby(classes):
        count = sum(1 for _ in run)
        parts.append(text if count == 1 else f"{text}{{{count}}}")
    return "".join(parts) + "=" * (-len(classes) % 4)


def _class(place: int, length: int, players: int) -> str:
    """Returns the characters that one place of the text may hold."""
    width = -(-players // 8)
    zero = 0
    for bit in range(6 * place, min(6 * place + 6, 8 * length)):
        player = 8 * (bit // 8 % width) + 7 - bit % 8  # the highest bit of a byte comes first
        if player >= players:
            zero |= 1 << (5 - (bit - 6 * place))
    if not zero:
        return ANY
    return f"[{''.join(c for value, c in enumerate(ALPHABET) if not value & zero)}]"
