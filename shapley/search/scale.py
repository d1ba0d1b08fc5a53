"""The scale on which a search learns: fine among good sets, coarse among hopeless ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["Scale", "make_scale"]

REACH = 4.0


@dataclass(frozen=True)
class Scale:
    """How far utilities are below the best one, as a negative number, disasters drawn nearer.

    Unchanged down to ``reach``, logarithmic below, with a continuous slope: a layer without which
    a model breaks costs tens of nats, and would otherwise decide what is learnt about sets that
    differ by hundredths. The order of utilities stays the same.

    Attributes:
        top: the best utility.
        reach: distance from it up to which nothing changes; 0 changes nothing anywhere.
    """

    top: float
    reach: float

    def __call__(self, utilities: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Returns utilities on this scale."""
        below = self.top - utilities
        if self.reach <= 0:
            return -below
        pressed = self.reach * (1.0 + np.log(np.maximum(below / self.reach, 1.0)))
        return -np.where(below > self.reach, pressed, below)

    def utilities(self, scaled: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Returns the utilities of numbers on this scale."""
        below = -scaled
        if self.reach > 0:
            far = self.reach * np.exp(np.minimum(below / self.reach - 1.0, 500.0))
            below = np.where(below > self.reach, far, below)
        return self.top - below


def make_scale(utilities: Float[np.ndarray, "m"], leaders: Float[np.ndarray, "c"]) -> Scale:
    """Returns a scale that is fine down to four times the cost of the dearest leader.

    Args:
        utilities: of all measured coalitions.
        leaders: of the best measured set of each count.
    """
    top = float(utilities.max())
    return Scale(top, REACH * (top - float(leaders.min())) if len(leaders) else 0.0)
