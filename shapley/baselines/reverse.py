"""Reverse order: remove the deepest players, but keep the last one.

Source: the simple strategy of Gromov et al., "The Unreasonable Ineffectiveness of the Deeper
Layers", arXiv 2403.17887, which drops the deepest layers except the final one.
"""

from __future__ import annotations

from collections.abc import Iterable

from shapley.baselines.found import Found, in_order

__all__ = ["reverse_order"]


def reverse_order(n: int, counts: Iterable[int]) -> Found:
    """Returns the deepest players before the last; nothing is evaluated.

    The last player goes only if everybody does.

    Raises:
        ValueError: if a count cannot be reached.
    """
    return Found(in_order([*range(n - 2, -1, -1), n - 1], counts), 0)
