"""Weighted regression on complement pairs with equal counts per size (leverage design)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from sampling.pairs import paired
from shapley.estimator import State, estimate
from shapley.estimators.state import ends, exact_if_complete, known_ends, unmeasured
from shapley.game import Game
from shapley.regression.fit import fit_regression
from shapley.values import Values

__all__ = ["LeverageRegression", "regression_values"]


@dataclass(frozen=True)
class LeverageRegression:
    """Measures complement pairs without replacement and solves a weighted regression.

    Musco & Witter (ICLR 2025) with fixed counts per size; see :mod:`shapley.regression.weighting`.
    What is proposed does not depend on how it is cut into steps, and a larger budget contains a
    smaller one's coalitions.
    """

    @property
    def name(self) -> str:
        """What people call it."""
        return "regression"

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns the full and the empty coalition, then complement pairs; see ``Estimator``."""
        pairs = paired(state.n, state.spent + count + 1, state.seed)
        return unmeasured(state, np.concatenate([ends(state.n), pairs]), count)

    def result(self, state: State) -> Values:
        """Returns the values of :func:`shapley.fit_regression` on everything measured.

        Raises:
            ValueError: if the empty or the full coalition was not measured.
        """
        known_ends(state)
        exact = exact_if_complete(state, self.name)
        if exact is not None:
            return dataclasses.replace(exact, budget=state.spent)
        return fit_regression(
            state.coalitions, state.utilities, state.n, players=state.players, seed=state.seed
        )


def regression_values(game: Game, budget: int, seed: int = 0) -> Values:
    """Estimates Shapley values by :class:`LeverageRegression`.

    Args:
        game: any game.
        budget: distinct coalitions to evaluate, at least 2. All of it is used; exact from
            ``2^n`` on.
        seed: of the design.

    Raises:
        ValueError: if the budget is below 2.
    """
    return estimate(LeverageRegression(), game, budget, seed)
