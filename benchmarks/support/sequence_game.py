"""A real model as a game that can be asked about single sequences, everything kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from decoder import MaskedModel, Roster
from sampling import keys
from shapley import FunctionGame, Game

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["PartsOf", "SequenceGame"]

SIGNS = {"nll": -1.0, "kl": -1.0, "top1": 1.0}


class SequenceGame:
    """Measures a coalition on those sequences of a text that are asked for, each once."""

    def __init__(
        self, model: PreTrainedModel, roster: Roster, tokens: Int[np.ndarray, "S T"]
    ) -> None:
        """Prepares a walk through the model for every sequence."""
        self.players, self.tokens = roster.names, tokens
        self._walks = [MaskedModel(model, row[None], roster=roster) for row in tokens]
        self._known: list[dict[bytes, dict[str, float]]] = [{} for _ in tokens]

    def metric(
        self, name: str, coalitions: Bool[np.ndarray, "B n"], sequences: Int[np.ndarray, "k"]
    ) -> Float[np.ndarray, "B k"]:
        """A metric of each coalition on each sequence."""
        columns = [self._column(name, coalitions, int(sequence)) for sequence in sequences]
        return np.stack(columns, axis=1)

    def game(self, name: str) -> Game:
        """The mean of a metric over all sequences, higher is better."""
        every = np.arange(len(self.tokens))
        return FunctionGame(
            lambda rows: SIGNS[name] * self.metric(name, rows, every).mean(axis=1), self.players
        )

    def _column(
        self, name: str, coalitions: Bool[np.ndarray, "B n"], sequence: int
    ) -> Float[np.ndarray, "B"]:
        known, names = self._known[sequence], keys(coalitions)
        fresh = {key: place for place, key in enumerate(names) if key not in known}
        if fresh:
            found = self._walks[sequence].measure(coalitions[list(fresh.values())])
            for row, key in enumerate(fresh):
                known[key] = {metric: float(found[metric][row, 0]) for metric in SIGNS}
        return np.array([known[key][name] for key in names])


class PartsOf:
    """A sequence game's metric as `shapley.baselines.PartialGame`."""

    def __init__(self, game: SequenceGame, name: str) -> None:
        """Chooses the metric."""
        self.game, self.name = game, name
        self.players, self.parts = game.players, len(game.tokens)

    def __call__(
        self, coalitions: Bool[np.ndarray, "B n"], parts: Int[np.ndarray, "k"], /
    ) -> Float[np.ndarray, "B"]:
        """Mean of the metric over some sequences, higher is better."""
        return SIGNS[self.name] * self.game.metric(self.name, coalitions, parts).mean(axis=1)
