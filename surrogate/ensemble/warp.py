"""The scale on which a game is learnt: how far a set is from the whole model, pressed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["Warp", "fit_warp"]

LARGEST = 80.0  # on the scale; its exponential is still far from the largest number
NEAREST_SHARE = 0.25


@dataclass(frozen=True)
class Warp:
    """A monotone scale of utilities: 0 at the whole model, larger where a set is worse.

    With the excess ``e = (whole - utility) / unit`` the scale is ``log(1 + e)`` (``e`` itself
    below 0, for sets that are better than the whole model), or ``e`` where no logarithm is taken.
    A logarithm makes errors relative: a tenth of a nat means much beside the whole model and
    nothing among sets that are worse than guessing.

    Attributes:
        whole: utility of the whole model.
        unit: excess at which the scale begins to bend, in units of the utility.
        kind: ``"log"`` or ``"raw"``.
    """

    whole: float
    unit: float
    kind: Literal["log", "raw"]

    def excess(self, utilities: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Returns how much worse than the whole model utilities are, in units."""
        return (self.whole - utilities) / self.unit

    def of_excess(self, excess: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Returns an excess on the scale."""
        if self.kind == "raw":
            return excess
        return np.where(excess < 0.0, excess, np.log1p(np.maximum(excess, 0.0)))

    def to_scale(self, utilities: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Returns utilities on the scale."""
        return self.of_excess(self.excess(utilities))

    def to_utility(self, scaled: Float[np.ndarray, "m"]) -> Float[np.ndarray, "m"]:
        """Returns the utilities of places on the scale."""
        if self.kind == "raw":
            return self.whole - self.unit * scaled
        grown = np.expm1(np.clip(scaled, 0.0, LARGEST))
        return self.whole - self.unit * np.where(scaled < 0.0, scaled, grown)

    def around(
        self,
        utilities: Float[np.ndarray, "m"],
        half_widths: Callable[[Float[np.ndarray, "m"]], Float[np.ndarray, "m"]],
    ) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
        """Returns the lower and upper utilities of intervals around some.

        Args:
            utilities: the middles.
            half_widths: of the intervals at places on the scale, on the scale.
        """
        places = self.to_scale(utilities)
        half = half_widths(places)
        return self.to_utility(places + half), self.to_utility(places - half)


def fit_warp(
    coalitions: Bool[np.ndarray, "m n"],
    utilities: Float[np.ndarray, "m"],
    kind: Literal["log", "raw"] = "log",
) -> Warp:
    """Returns the scale of measured utilities.

    The unit is the excess that a quarter of the sets do not reach: those are the ones that people
    ask about. Without the whole model, the best set stands in for it.

    Args:
        coalitions: measured rows, True = kept.
        utilities: one a row, finite.
        kind: of the scale.
    """
    all_kept = coalitions.all(axis=1)
    whole = float(utilities[all_kept].mean() if all_kept.any() else utilities.max())
    excess = whole - utilities
    unit = float(np.quantile(excess[excess > 0], NEAREST_SHARE)) if (excess > 0).any() else 0.0
    spread = float(np.abs(excess).max())
    return Warp(whole, unit if unit > 1e-12 * spread else spread or 1.0, kind)
