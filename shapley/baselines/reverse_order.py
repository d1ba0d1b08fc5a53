"""Reverse order: remove the deepest players, but keep the last one.

Source: the simple strategy of Gromov et al., "The Unreasonable Ineffectiveness of the Deeper
Layers", arXiv 2403.17887, which drops the deepest layers except the final one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shapley.baselines.found import Found, in_order
from shapley.baselines.method import Method, MethodContext

__all__ = ["METHOD", "reverse_order"]


def reverse_order(n: int, counts: Iterable[int]) -> Found:
    """Returns the deepest players before the last; nothing is evaluated.

    The last player goes only if everybody does.

    Raises:
        ValueError: if a count cannot be reached.
    """
    return Found(in_order([*range(n - 2, -1, -1), n - 1], counts), 0)


def run_reverse_order(context: MethodContext, counts: Sequence[int]) -> Found:
    """The deepest players before the last."""
    return reverse_order(context.players, counts)


METHOD = Method(
    name="reverse order",
    source="the simple strategy of Gromov et al., arXiv 2403.17887",
    needs="nothing",
    kind="selects sets",
    also=("deepest",),
    default=4,
    run=run_reverse_order,
)
