"""What a difference of losses means for perplexity."""

from __future__ import annotations

import math

__all__ = ["MOST_NATS", "TOLERANCE", "rise"]

TOLERANCE = 0.10
"""Relative rise of perplexity up to which a set is called good."""
MOST_NATS = 700.0
"""Beyond this an exponential is no float any more."""


def rise(difference: float) -> float:
    """Return the relative rise of perplexity that a difference of NLL in nats means."""
    return math.expm1(min(difference, MOST_NATS))
