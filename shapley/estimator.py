"""One interface for all estimators: measure some more, look at the values, go on.

An estimator's state is what has been measured, no more: any state can be written down, read back
and continued, and its values do not depend on how the evaluations were cut into steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float

from sampling.coalitions import keys
from shapley.game import Game
from shapley.values import Values

__all__ = ["Chooser", "Estimator", "State", "advance", "check_budget", "estimate", "start"]


@dataclass(frozen=True, eq=False)
class State:
    """What an estimator has measured so far.

    Attributes:
        players: names of the ``n`` players.
        coalitions: distinct rows in the order in which they were measured, True = kept.
        utilities: one a row.
        seed: of every random choice.
    """

    players: tuple[str, ...]
    coalitions: Bool[np.ndarray, "m n"]
    utilities: Float[np.ndarray, "m"]
    seed: int

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.players)

    @property
    def spent(self) -> int:
        """Distinct coalitions evaluated."""
        return len(self.coalitions)

    @property
    def has_ends(self) -> bool:
        """Whether the full and the empty coalition are measured."""
        return {0, self.n} <= set(self.coalitions.sum(axis=1).tolist())

    def first(self, count: int) -> State:
        """Returns the state after the first ``count`` measurements."""
        return dataclasses.replace(
            self, coalitions=self.coalitions[:count], utilities=self.utilities[:count]
        )

    def extended(
        self, coalitions: Bool[np.ndarray, "k n"], utilities: Float[np.ndarray, "k"]
    ) -> State:
        """Returns the state with further measurements.

        Raises:
            ValueError: if a row was measured before, shapes do not fit or a utility is not finite.
        """
        measured = np.asarray(utilities, dtype=np.float64)
        if measured.shape != (len(coalitions),) or not np.isfinite(measured).all():
            raise ValueError(
                f"the game must answer {len(coalitions)} coalitions with as many finite utilities,"
                f" got shape {list(measured.shape)} with {int((~np.isfinite(measured)).sum())}"
                " that are not finite"
            )
        rows = np.concatenate([self.coalitions, coalitions])
        if len(set(keys(rows))) != len(rows):
            raise ValueError("coalitions must not have been measured before; leave repeats out")
        return dataclasses.replace(
            self, coalitions=rows, utilities=np.concatenate([self.utilities, measured])
        )


class Chooser(Protocol):
    """A way to choose which coalitions are measured: an estimator's, or a search's."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns the coalitions to measure next.

        At most ``count``, distinct, none of the state's; fewer only if the estimator has no use
        for more. What is proposed for two steps in turn need not be what it is for both at once,
        unless the estimator says so, but is decided by the state alone.
        """
        ...


class Estimator(Chooser, Protocol):
    """A way to choose coalitions and to turn their utilities into values."""

    def result(self, state: State) -> Values:
        """Returns the values that the measurements give.

        Raises:
            ValueError: if there are too few measurements to say anything.
        """
        ...


def start(players: Sequence[str], seed: int = 0) -> State:
    """Returns the state of an estimator that has not measured anything (``init``)."""
    names = tuple(players)
    return State(names, np.empty((0, len(names)), dtype=bool), np.empty(0), seed)


def advance(chooser: Chooser, state: State, game: Game, evaluations: int) -> State:
    """Measures up to ``evaluations`` more distinct coalitions (``step``).

    Args:
        chooser: decides which coalitions come next.
        state: what is measured so far; it stays as it is.
        game: what to measure.
        evaluations: most further coalitions.
    """
    if evaluations < 0:
        raise ValueError(f"evaluations must be at least 0, got {evaluations}")
    rest = evaluations
    while rest > 0:
        rows = chooser.propose(state, rest)
        if not len(rows):
            break
        state = state.extended(rows, game(rows))
        rest -= len(rows)
    return state


def estimate(estimator: Estimator, game: Game, budget: int, seed: int = 0) -> Values:
    """Returns the values after ``budget`` distinct coalitions: init, step and result in one.

    Args:
        estimator: chooses the coalitions and turns them into values.
        game: any game.
        budget: distinct coalitions to evaluate, at least 2.
        seed: of all choices.

    Raises:
        ValueError: if the budget is below 2, or too small for the estimator.
    """
    check_budget(budget)
    state = advance(estimator, start(game.players, seed), game, budget)
    return dataclasses.replace(estimator.result(state), budget=budget)


def check_budget(budget: int) -> None:
    """Refuse a budget that does not even measure the empty and the full coalition.

    Args:
        budget: distinct coalitions to evaluate.

    Raises:
        ValueError: if it is below 2.
    """
    if budget < 2:
        raise ValueError(f"budget must be at least 2 coalitions (all and none), got {budget}")
