"""Conformal half-widths: how far held-out predictions were off, by number of removed players."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Conformal"]

# A stratum with fewer held-out residuals takes in its neighbours'.
FEWEST = 40


@dataclass(frozen=True, eq=False)
class Conformal:
    """Absolute out-of-fold residuals and the stratum of each.

    Attributes:
        residuals: absolute, in the units of the utility, sorted by stratum.
        removed: number of removed players of each.
        players: number of players.
    """

    residuals: Float[np.ndarray, "m"]
    removed: Int[np.ndarray, "m"]
    players: int

    @classmethod
    def of(
        cls, residuals: Float[np.ndarray, "m"], removed: Int[np.ndarray, "m"], players: int
    ) -> Conformal:
        """Builds it from out-of-fold residuals in any order and of any sign."""
        order = np.argsort(removed, kind="stable")
        return cls(np.abs(residuals)[order], np.asarray(removed, np.int64)[order], players)

    def half_widths(self, level: float) -> Float[np.ndarray, "strata"]:
        """Returns the half-width of the interval for 0, 1, ... n removed players.

        It is the ``ceil((c + 1) level)``-th smallest of the ``c`` residuals of the stratum
        (Vovk et al. 2005; cross-conformal: Vovk 2015). While they are too few, the strata of
        one more and one less removed player are pooled with it, and so on outwards.

        Raises:
            ValueError: if the level is outside (0, 1) or needs more residuals than there are.
        """
        if not 0.0 < level < 1.0:
            raise ValueError(f"level must lie between 0 and 1, got {level}; try 0.95")
        least = _least_count(level)
        if least > len(self.residuals):
            raise ValueError(
                f"level {level} needs at least {least} measured coalitions,"
                f" got {len(self.residuals)}; measure more or lower the level"
            )
        enough = min(max(least, FEWEST), len(self.residuals))
        widths = np.empty(self.players + 1)
        for stratum in range(self.players + 1):
            reach = 0
            while True:
                near = np.abs(self.removed - stratum) <= reach
                if near.sum() >= enough:
                    break
                reach += 1
            pool = np.sort(self.residuals[near])
            widths[stratum] = pool[_rank(len(pool), level) - 1]
        return widths


def _rank(count: int, level: float) -> int:
    # The small slack keeps a product such as 20 * 0.95 from being rounded up to 20.
    return int(np.ceil((count + 1) * level - 1e-9))


def _least_count(level: float) -> int:
    count = max(1, int(level / (1.0 - level)) - 1)
    while _rank(count, level) > count:
        count += 1
    return count
