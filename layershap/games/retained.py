"""An estimator that is given retention where the game answers minus a loss."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from layershap.errors import UserError
from shapley.estimator import Estimator, State
from shapley.retention import retention
from shapley.values import Values

__all__ = ["Retained", "retained"]

ROUNDING = 1e-9
"""By how much a loss may be below 0."""


class Retained:
    """Another estimator on the retention of what was measured.

    What is measured, and what a file keeps of it, stays as the game gave it.
    """

    def __init__(self, estimator: Estimator) -> None:
        self.estimator, self.name = estimator, estimator.name

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns what the estimator would measure next of the retention game."""
        return self.estimator.propose(_on_retention(state), count)

    def result(self, state: State) -> Values:
        """Returns the values of retention."""
        if not state.coalitions.all(axis=1).any():
            raise ValueError("retention needs the set of all players; choose another method")
        return self.estimator.result(_on_retention(state))


def retained(utilities: Float[np.ndarray, "m"], whole: float) -> Float[np.ndarray, "m"]:
    """Returns the retention of a game's utilities.

    Args:
        utilities: minus losses in nats.
        whole: that of all players.

    Raises:
        UserError: one is above 0, so that they are no losses, or retention is not for them.
    """
    largest = float(np.max(utilities, initial=whole))
    if largest > ROUNDING:
        raise UserError(
            f"--retention: is for utilities that are minus a loss in nats, and one is "
            f"{largest:.4g}, above 0; leave --retention out"
        )
    try:
        return retention(utilities, whole)
    except ValueError as error:
        raise UserError(f"--retention: {error}") from None


def _on_retention(state: State) -> State:
    """The state with retention for utilities; as it is before all players were measured."""
    whole = state.utilities[state.coalitions.all(axis=1)]
    if not len(whole):
        return state
    return dataclasses.replace(state, utilities=retained(state.utilities, float(whole[0])))
