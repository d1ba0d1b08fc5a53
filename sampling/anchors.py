"""Anchors: the coalitions that every campaign measures first."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from sampling.coalitions import distinct, empty, full

__all__ = ["anchors"]


def anchors(n: int) -> Bool[np.ndarray, "B n"]:
    """Returns the full coalition, the empty one, then each with a single player removed.

    Rows are distinct: ``n + 2`` of them, except 2 for a single player.

    Raises:
        ValueError: if ``n`` is below 1.
    """
    singles = ~np.eye(n, dtype=bool) if n > 0 else np.empty((0, 0), dtype=bool)
    return distinct(np.concatenate([full(n)[None], empty(n)[None], singles]))
