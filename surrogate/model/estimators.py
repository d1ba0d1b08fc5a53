"""Estimators that learn the game with the ensemble: its own values, or corrected ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from shapley.estimator import State
from shapley.estimators import CrossFitted, Exact, LeverageRegression
from shapley.indices.corrected import corrected_values
from shapley.indices.monte_carlo import surrogate_values
from shapley.values import Values
from surrogate.model.game import SurrogateGame
from surrogate.model.regressor import SurrogateRegressor

__all__ = ["SurrogateValues", "cross_fitted"]

FEWEST = 4


@dataclass(frozen=True)
class SurrogateValues:
    """Values of the ensemble fitted to complement pairs.

    The empty coalition is left out of the fit: it is often far from all else.

    Attributes:
        corrected: add the regression on the residuals of the measurements
            (:func:`shapley.corrected_values`), with the guard that falls back openly on the
            regression alone; otherwise the surrogate's values as they are.
        calls: of the surrogate, where it has too many coalitions to enumerate.
    """

    corrected: bool = True
    calls: int = 1 << 19

    @property
    def name(self) -> str:
        """What people call it."""
        return "corrected" if self.corrected else "surrogate"

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns all, none and then complement pairs, as the regression does."""
        return LeverageRegression().propose(state, count)

    def result(self, state: State) -> Values:
        """Fits the ensemble to what is measured and returns its values.

        Raises:
            ValueError: if fewer than 5 coalitions are measured, or the full or the empty one is
                missing.
        """
        if state.spent == 1 << state.n:
            return dataclasses.replace(Exact().result(state), method=self.name)
        regressor, used = _fitted(state.coalitions, state.utilities, state.seed)
        # The correction needs the surrogate's own ends; alone it is told what they really are.
        ends = state.coalitions.sum(axis=1) % state.n == 0
        known = None if self.corrected else (state.coalitions[ends], state.utilities[ends])
        game = SurrogateGame(regressor, state.players, measured=known)
        own = surrogate_values(game, state.n, self.calls, state.seed)
        own = dataclasses.replace(own, spent=state.spent, method=self.name)
        if not self.corrected:
            return own
        held_out = np.full(state.spent, np.nan)
        held_out[used] = regressor.out_of_fold_
        predicted = regressor.predict(state.coalitions)
        values = corrected_values(
            state.coalitions, state.utilities, predicted, own, held_out, seed=state.seed
        )
        return dataclasses.replace(values, method=self.name)


def cross_fitted(folds: int = 5) -> CrossFitted:
    """Returns the strictly unbiased estimator with the ensemble as its learner."""
    return CrossFitted(_learn, folds=folds)


def _learn(
    coalitions: Bool[np.ndarray, "m n"], utilities: Float[np.ndarray, "m"], seed: int
) -> SurrogateGame:
    return SurrogateGame(_fitted(coalitions, utilities, seed)[0])


def _fitted(
    coalitions: Bool[np.ndarray, "m n"], utilities: Float[np.ndarray, "m"], seed: int
) -> tuple[SurrogateRegressor, Bool[np.ndarray, "m"]]:
    used = np.asarray(coalitions.any(axis=1))
    count = int(used.sum())
    if count < FEWEST:
        raise ValueError(
            f"a surrogate needs at least {FEWEST} coalitions besides the empty one, got {count};"
            " measure more"
        )
    regressor = SurrogateRegressor(seed=seed, folds=min(5, count // 2))
    return regressor.fit(coalitions[used], utilities[used]), used
