"""What measurements of a like game tell about this one, for searches that choose what to measure.

The games are a line apart, and a process: f(S) = level + slope g(S) + bend cuts(S) + rest(S), of
which g is believed from many measurements and the rest learnt from few (Kennedy & O'Hagan,
Biometrika 2000, equation 1). Cuts are the runs of removed players: what bridges a gap of a model is
fitted once a gap, however wide it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from shapley.search.acquisition import Belief, Learner
from surrogate.process.belief import ProcessLearner

__all__ = ["TransferredBelief", "TransferredLearner"]

_PRIOR = np.array([1e-6, 1.0, 4.0])  # weights of the prior in rows: level, slope 1, bend 0


@dataclass(frozen=True, eq=False)
class TransferredBelief:
    """Belief of a game from that of a like one.

    Attributes:
        like: what is believed of the other game.
        line: level, slope and bend: units of a utility, of one, of one a cut.
        rest: what is believed of what they leave.
    """

    like: Belief
    line: Float[np.ndarray, "3"]
    rest: Belief

    def mean(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the expected utilities."""
        expected = self._along(self.like.mean(coalitions), cuts(coalitions))
        return expected + self.rest.mean(coalitions)

    def removals(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B n"]:
        """Returns the expected utilities once one more player is removed.

        Entries of players that are removed already say nothing.
        """
        more = np.stack([cuts(row & ~np.eye(len(row), dtype=bool)) for row in coalitions])
        expected = self._along(self.like.removals(coalitions), more)
        return expected + self.rest.removals(coalitions)

    def exchanges(self, coalition: Bool[np.ndarray, "n"], /) -> Float[np.ndarray, "r k"]:
        """Returns the expected utilities once one removed player takes the place of a kept one.

        A row for each player that is removed now, a column for each that is kept, ascending.
        """
        gone, kept = np.flatnonzero(~coalition), np.flatnonzero(coalition)
        rows = np.tile(coalition, (len(gone), len(kept), 1))
        rows[np.arange(len(gone)), :, gone] = True
        rows[:, np.arange(len(kept)), kept] = False
        other = cuts(rows.reshape(-1, len(coalition))).reshape(len(gone), len(kept))
        expected = self._along(self.like.exchanges(coalition), other)
        return expected + self.rest.exchanges(coalition)

    def deviation(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the standard deviations of the utilities."""
        return np.hypot(
            self.line[1] * self.like.deviation(coalitions), self.rest.deviation(coalitions)
        )

    def _along(self, like: np.ndarray, number: np.ndarray) -> np.ndarray:
        return self.line[0] + self.line[1] * like + self.line[2] * number


class TransferredLearner:
    """Fits a line and a process to few measurements, given a belief of a like game.

    Args:
        like: what is believed of the other game, its utilities in the same unit.
        learner: of what the line leaves; a process when omitted.
    """

    def __init__(self, like: Belief, learner: Learner | None = None) -> None:
        self._like, self._learner = like, learner or ProcessLearner()

    def __call__(
        self,
        coalitions: Bool[np.ndarray, "m n"],
        utilities: Float[np.ndarray, "m"],
        seed: int,
        /,
        studied: Float[np.ndarray, "g"] | None = None,
    ) -> TransferredBelief:
        """Returns what all measurements tell; see `shapley.search.acquisition.Learner`.

        Args:
            coalitions: measured rows, True = kept.
            utilities: one a row, finite.
            seed: of what is drawn.
            studied: utilities of the first rows, on a scale of their own.
        """
        like, number = self._like.mean(coalitions), cuts(coalitions)
        line = _line(like, number, utilities)
        along = line[0] + line[1] * like + line[2] * number
        first = utilities if studied is None else studied
        own = _line(like[: len(first)], number[: len(first)], first)
        left = first - (own[0] + own[1] * like[: len(first)] + own[2] * number[: len(first)])
        return TransferredBelief(
            self._like, line, self._learner(coalitions, utilities - along, seed, left)
        )


def cuts(coalitions: Bool[np.ndarray, "B n"]) -> Int[np.ndarray, "B"]:
    """Counts the runs of removed players.

    Args:
        coalitions: rows, True = kept.
    """
    gone = ~coalitions
    return gone[:, 0] + (gone[:, 1:] & ~gone[:, :-1]).sum(axis=1)


def _line(
    like: Float[np.ndarray, "m"], number: Int[np.ndarray, "m"], utilities: Float[np.ndarray, "m"]
) -> Float[np.ndarray, "3"]:
    """Level, slope and bend by ridge: with few rows the games are believed to be a level apart."""
    spread = float(like.std()) or 1.0
    rows = np.stack([np.ones(len(like)), (like - like.mean()) / spread, number], axis=1)
    start = np.array([0.0, spread, 0.0])
    left = utilities - rows @ start
    found = start + np.linalg.solve(rows.T @ rows + np.diag(_PRIOR), rows.T @ left)
    slope = max(found[1] / spread, 0.0)
    return np.array([found[0] - slope * float(like.mean()), slope, found[2]])
