"""How much of one token stream stands word for word in another: text that a search has seen."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

__all__ = ["WINDOW", "shared_share"]

WINDOW = 32
"""Tokens that follow each other in both texts before they count as the same passage."""

_BASE = 0x9E3779B97F4A7C15  # odd, so that it can be divided by modulo 2^64


def shared_share(
    text: Int[np.ndarray, "N"], other: Int[np.ndarray, "M"], window: int = WINDOW
) -> float:
    """Measure the share of a text's tokens that lie in a passage which the other text has too.

    Every window of so many tokens is hashed, at every position of both; a text shorter than that is
    one window. Two different windows have the same hash once in 2^64.

    Args:
        text: token ids.
        other: token ids; this may be the long one.
        window: tokens of a passage.

    Returns:
        A share from 0 to 1; 0 where either text is empty.
    """
    window = min(window, len(text), len(other))
    if not window:
        return 0.0
    longest = max(len(text), len(other))
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(longest, _BASE, dtype=np.uint64), dtype=np.uint64)
    own = _hashes(text, window, powers)
    found = np.isin(own, _known(np.unique(own), _hashes(other, window, powers)))
    edges = np.zeros(len(text) + 1, dtype=np.int64)
    edges[: len(found)] += found
    edges[window : window + len(found)] -= found
    return float((np.cumsum(edges[:-1]) > 0).mean())


def _known(wanted: Int[np.ndarray, "U"], hashes: Int[np.ndarray, "H"]) -> Int[np.ndarray, "K"]:
    """Those of some sorted hashes that are among others, usually many more, which stay unsorted."""
    places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
    return np.unique(hashes[wanted[places] == hashes])


def _hashes(
    tokens: Int[np.ndarray, "N"], window: int, powers: Int[np.ndarray, "K"]
) -> Int[np.ndarray, "N-window+1"]:
    """One hash a window: sums of tokens times powers of an odd base, brought to one power."""
    with np.errstate(over="ignore"):
        sums = np.cumsum(_mixed(tokens) * powers[: len(tokens)], dtype=np.uint64)
        parts = sums[window - 1 :].copy()
        parts[1:] -= sums[:-window]
        return parts * powers[::-1][: len(parts)]


def _mixed(tokens: Int[np.ndarray, "N"]) -> Int[np.ndarray, "N"]:
    """Ids spread over 64 bits, so that small ones do not add up to the same (splitmix64)."""
    with np.errstate(over="ignore"):
        x = tokens.astype(np.uint64) + np.uint64(_BASE)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
