"""Exact values as an estimator: measure everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from shapley.estimator import State
from shapley.estimators.state import exact_if_complete, rest
from shapley.indices.exact import MOST_PLAYERS
from shapley.values import Values

__all__ = ["Exact"]


@dataclass(frozen=True)
class Exact:
    """Measures all ``2^n`` coalitions in order of enumeration; at most 22 players."""

    @property
    def name(self) -> str:
        """What people call it."""
        return "exact"

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns the next coalitions of the enumeration; the order does not depend on steps.

        Raises:
            ValueError: if the game has more than 22 players.
        """
        if state.n > MOST_PLAYERS:
            raise ValueError(
                f"players must be at most {MOST_PLAYERS} to enumerate all coalitions, got"
                f" {state.n}; use a sampling estimator"
            )
        return rest(state, count)

    def result(self, state: State) -> Values:
        """Returns the exact values.

        Raises:
            ValueError: if a coalition was not measured.
        """
        values = exact_if_complete(state, self.name)
        if values is None:
            raise ValueError(
                f"state must hold all 2^n = {1 << state.n} coalitions for exact values, it has"
                f" {state.spent}; raise the budget or use a sampling estimator"
            )
        return values
