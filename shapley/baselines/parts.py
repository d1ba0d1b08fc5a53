"""Games that can be evaluated on a part of their text, and what such evaluations cost."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from sampling.coalitions import keys

__all__ = ["PartMeter", "PartialGame"]


class PartialGame(Protocol):
    """A game whose utility is a mean over equal parts of a text: its sequences."""

    @property
    def players(self) -> tuple[str, ...]:
        """Names of the ``n`` players, in depth order."""
        ...

    @property
    def parts(self) -> int:
        """Number of parts of the text."""
        ...

    def __call__(
        self, coalitions: Bool[np.ndarray, "B n"], parts: Int[np.ndarray, "k"], /
    ) -> Float[np.ndarray, "B"]:
        """Returns the mean utility of each coalition on these parts; higher is better."""
        ...


class PartMeter:
    """Counts what is asked of a partial game: each pair of a coalition and a part once."""

    def __init__(self, game: PartialGame) -> None:
        """Wraps a game; nothing is counted yet."""
        self.game = game
        self.players = tuple(game.players)
        self.parts = game.parts
        self.paid = 0
        self._seen: dict[bytes, Bool[np.ndarray, "p"]] = {}

    @property
    def evaluations(self) -> float:
        """What was paid, in evaluations on the whole text."""
        return self.paid / self.parts

    def price(
        self, coalitions: Bool[np.ndarray, "B n"], parts: Int[np.ndarray, "k"]
    ) -> Int[np.ndarray, "B"]:
        """Returns how many parts would have to be paid for each of distinct coalitions."""
        nothing = np.zeros(self.parts, dtype=bool)
        seen = [self._seen.get(key, nothing)[parts].sum() for key in keys(coalitions)]
        return len(parts) - np.array(seen, dtype=np.int64)

    def __call__(
        self, coalitions: Bool[np.ndarray, "B n"], parts: Int[np.ndarray, "k"], /
    ) -> Float[np.ndarray, "B"]:
        """Evaluates distinct coalitions and notes what was new."""
        self.paid += int(self.price(coalitions, parts).sum())
        for key in keys(coalitions):
            self._seen.setdefault(key, np.zeros(self.parts, dtype=bool))[parts] = True
        return np.asarray(self.game(coalitions, parts), dtype=np.float64)
