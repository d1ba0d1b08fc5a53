"""Conformal half-widths: how far held-out predictions were off, by number of removed players."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["Conformal"]

# A stratum with fewer held-out residuals takes in its neighbours'.
FEWEST = 30


@dataclass(frozen=True, eq=False)
class Conformal:
    """Absolute out-of-fold residuals and the stratum of each.

    Attributes:
        residuals: absolute, in the units of the utility, sorted by stratum.
        removed: number of removed players of each.
        weights: what each counts, 1 on average.
        players: number of players.
    """

    residuals: Float[np.ndarray, "m"]
    removed: Int[np.ndarray, "m"]
    weights: Float[np.ndarray, "m"]
    players: int

    @classmethod
    def of(
        cls,
        residuals: Float[np.ndarray, "m"],
        removed: Int[np.ndarray, "m"],
        players: int,
        weights: Float[np.ndarray, "m"] | None = None,
    ) -> Conformal:
        """Builds it from out-of-fold residuals in any order and of any sign.

        Args:
            residuals: measured less predicted.
            removed: number of removed players of each.
            players: number of players.
            weights: positive; equal when omitted.
        """
        order = np.argsort(removed, kind="stable")
        share = np.ones(len(residuals)) if weights is None else weights / weights.mean()
        removed = np.asarray(removed, np.int64)
        return cls(np.abs(residuals)[order], removed[order], share[order], players)

    def half_widths(self, level: float) -> Float[np.ndarray, "strata"]:
        """Returns the half-width of the interval for 0, 1, ... n removed players.

        It is the ``(c + 1) level``-th smallest of the ``c`` residuals of the stratum (Vovk et al.
        2005; cross-conformal: Vovk 2015), between two of them by linear interpolation (Beran &
        Hall 1993): rounded up, strata of a few dozen would cover a point or two more than asked
        for. While they are too few, the strata of one more and one less removed player are pooled
        with it, and so on outwards. Weights count residuals as so many.

        Raises:
            ValueError: if the level is outside (0, 1) or needs more residuals than there are.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, got {level}; try 0.95")
        least = _least_count(level)
        if least > self._count(np.ones(len(self.residuals), bool)):
            raise ValueError(
                f"level {level} needs at least {least} measured coalitions,"
                f" got {len(self.residuals)}; measure more or lower the level"
            )
        enough = max(least, FEWEST)
        widths = np.empty(self.players + 1)
        for stratum in range(self.players + 1):
            reach = 0
            near = self.removed == stratum
            while self._count(near) < enough and reach < self.players:
                reach += 1
                near = np.abs(self.removed - stratum) <= reach
            order = np.argsort(self.residuals[near])
            share = self.weights[near][order]
            # The utility asked for takes a place among them, of a weight as they have it.
            below = np.cumsum(share) / (share.sum() * (1.0 + 1.0 / self._count(near)))
            widths[stratum] = np.interp(level, below, self.residuals[near][order])
        return widths

    def _count(self, rows: Bool[np.ndarray, "m"]) -> float:
        """Returns how many residuals of equal weight would tell as much (Kish 1965)."""
        share = self.weights[rows]
        # Rounded, so that 19 equal ones do not count as 18.999.
        return round(float(share.sum() ** 2 / (share**2).sum()), 6) if len(share) else 0.0


def _least_count(level: float) -> int:
    # The small slack keeps a quotient such as 0.95 / 0.05 from being rounded up to 20.
    return max(1, int(np.ceil(level / (1.0 - level) - 1e-9)))
