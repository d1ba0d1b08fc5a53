"""A belief as a game that never contradicts what was measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from sampling.coalitions import keys

__all__ = ["MeasuredFirstGame"]


class MeasuredFirstGame:
    """Measured utilities where there are any, expected ones less a penalty elsewhere."""

    def __init__(
        self,
        mean: Callable[[Bool[np.ndarray, "B n"]], Float[np.ndarray, "B"]],
        coalitions: Bool[np.ndarray, "m n"],
        utilities: Float[np.ndarray, "m"],
        players: tuple[str, ...],
        penalty: float = 0.0,
    ) -> None:
        """Builds the game; a penalty makes searches prefer what is measured."""
        self.players = players
        self._mean, self._penalty = mean, penalty
        self._known = dict(zip(keys(coalitions), utilities.tolist(), strict=True))

    def __call__(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns one utility a row."""
        utilities = self._mean(coalitions) - self._penalty
        for place, key in enumerate(keys(coalitions)):
            if key in self._known:
                utilities[place] = self._known[key]
        return utilities
