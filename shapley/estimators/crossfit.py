"""Strictly unbiased values: any learner, corrected on coalitions that it did not see."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from sampling.streams import stream
from shapley.estimator import State
from shapley.estimators.state import (
    ends,
    exact_if_complete,
    known_ends,
    unmeasured,
)
from shapley.estimators.strata import size_sequence
from shapley.game import FunctionGame, evaluate
from shapley.indices.monte_carlo import surrogate_values
from shapley.values import Status, Values

__all__ = ["CrossFitted", "Learner", "Predict"]

Predict = Callable[[Bool[np.ndarray, "B n"]], Float[np.ndarray, "B"]]
Learner = Callable[[Bool[np.ndarray, "m n"], Float[np.ndarray, "m"], int], Predict]


@dataclass(frozen=True)
class CrossFitted:
    """Horvitz-Thompson estimates of a learner's residuals, out of fold.

    Write ``phi_i(v) = sum_S a_i(S) v(S)``. Coalitions are uniform samples without replacement of
    fixed counts ``k_s`` a size, so each is in with probability ``k_s / C(n, s)``. They are dealt
    into folds; ``f_g`` learns from everything but fold ``g``. What it learnt from is known exactly;
    the other ``R_s`` coalitions of size ``s`` are represented by the ``k_gs`` of the fold, a
    uniform sample of them whatever ``f_g`` may be:

    ``phi(f_g) + sum_{S not in g} a(S) r_g(S) + sum_s R_s / k_gs sum_{S in g} a(S) r_g(S)``

    with ``r_g = v - f_g`` is unbiased for every learner, good or bad. The estimate is the mean over
    folds, shifted evenly to add up to ``v(N) - v(empty)``, which keeps it unbiased. For an ``f``
    that does not depend on the fold it is the estimator of maximum sample reuse with inclusion
    probabilities ``k_s / C(n, s)`` (Witter et al., NeurIPS 2025; Horvitz & Thompson 1952). Fitting
    and correcting on the same coalitions, as is often done, is biased.

    Unbiased means over designs of a budget fixed beforehand; a budget that follows the standard
    errors may bias it a little. Above ``log2(calls)`` players the values of ``f_g`` are estimates
    themselves, whose standard errors are included.

    Attributes:
        learner: takes coalitions, utilities and a seed, returns a batched prediction function. It
            is given the full and the empty coalition too and may leave them out.
        folds: the most folds; fewer if a size has fewer coalitions.
        calls: the most predictions for the values of each ``f_g``: enumerates up to 20 players.
    """

    learner: Learner
    folds: int = 5
    calls: int = 1 << 20

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds must be at least 2, got {self.folds}")

    @property
    def name(self) -> str:
        """What people call it."""
        return "cross-fitted"

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns the next coalitions of the design; its order does not depend on steps.

        Size ``s`` has a share in proportion to ``1 / sqrt(s (n - s))``, the best for residuals
        that are alike in all sizes.
        """
        n = state.n
        weights = [1.0 / math.sqrt(size * (n - size)) for size in range(1, n)]
        first = size_sequence(n, 2 * (n - 1), state.seed, name="cross-fitted")
        counts = np.bincount(first.sum(axis=1), minlength=n)[1:n]
        rows = size_sequence(
            n, state.spent + count, state.seed, weights, counts.tolist(), "cross-fitted"
        )
        return unmeasured(state, np.concatenate([ends(n), first, rows]), count)

    def result(self, state: State) -> Values:
        """Returns the values with standard errors that take the learner as given.

        Raises:
            ValueError: if a size has fewer than two coalitions, or predictions are not finite.
        """
        known_ends(state)
        if (exact := exact_if_complete(state, self.name)) is not None:
            return exact
        n = state.n
        sizes = state.coalitions.sum(axis=1)
        taken = np.bincount(sizes, minlength=n + 1)
        totals = np.array([float(math.comb(n, size)) for size in range(n + 1)])
        open_sizes = [size for size in range(1, n) if taken[size] < totals[size]]
        least = min(int(taken[size]) for size in open_sizes)
        if least < 2:
            raise ValueError(
                f"state must hold 2 coalitions of every size, some size has {least}; allow a"
                f" budget of at least {2 * n}"
            )
        fold = _folds(sizes, min(self.folds, least), n)
        everything, residual, own = self._fold_estimates(state, sizes, totals, fold)
        span = state.utilities[sizes == n][0] - state.utilities[sizes == 0][0]
        values = everything.mean(axis=0)
        values += (span - values.sum()) / n

        # The estimate is a sum over sizes of means of these terms, up to terms of phi(f).
        terms = residual[:, None] * _coefficients(state.coalitions)
        terms -= terms.mean(axis=1, keepdims=True)
        parts = np.stack(
            [
                terms[sizes == size].var(axis=0, ddof=1)
                / taken[size]
                * (1.0 - taken[size] / totals[size])
                for size in open_sizes
            ]
        )
        variance = parts.sum(axis=0)
        inner = (sizes > 0) & (sizes < n)
        around = state.utilities[inner] - state.utilities[inner].mean()
        explained = 1.0 - (residual[inner] ** 2).sum() / max(float(around @ around), 1e-300)
        return Values.build(
            state.players,
            values,
            np.sqrt(variance + own**2),
            method=self.name,
            status=Status.ESTIMATED,
            spent=state.spent,
            budget=state.spent,
            quantile=_quantile(parts, taken[open_sizes] - 1),
            diagnostics={"folds": float(fold.max() + 1), "out_of_fold_r2": float(explained)},
        )

    def _fold_estimates(
        self,
        state: State,
        sizes: Int[np.ndarray, "m"],
        totals: Float[np.ndarray, "n+1"],
        fold: Int[np.ndarray, "m"],
    ) -> tuple[Float[np.ndarray, "G n"], Float[np.ndarray, "m"], Float[np.ndarray, "n"]]:
        """Returns each fold's estimate, all out-of-fold residuals and the errors of ``phi(f)``."""
        n = state.n
        coefficients = _coefficients(state.coalitions)
        estimates, errors = [], []
        residual = np.zeros(state.spent)
        for group in range(int(fold.max()) + 1):
            held = fold == group
            rng = stream(state.seed, "cross-fitted learner", group)
            predict = self.learner(
                state.coalitions[~held], state.utilities[~held], int(rng.integers(1 << 31))
            )
            model = FunctionGame(predict, state.players)
            values = surrogate_values(model, n, self.calls, state.seed)
            left = state.utilities - evaluate(model, state.coalitions)
            if not (np.isfinite(left).all() and np.isfinite(values.values).all()):
                raise ValueError("learner predicts numbers that are not finite; return finite ones")
            unseen = totals - np.bincount(sizes[~held], minlength=n + 1)
            count = np.bincount(sizes[held], minlength=n + 1)
            scale = np.where(held, (unseen / np.maximum(count, 1))[sizes], 1.0) / totals[sizes]
            estimates.append(values.values + (scale * left) @ coefficients)
            errors.append(values.standard_errors)
            residual[held] = left[held]
        return np.stack(estimates), residual, np.stack(errors).mean(axis=0)


def _folds(sizes: Int[np.ndarray, "m"], folds: int, n: int) -> Int[np.ndarray, "m"]:
    """Deals the coalitions of each size out in turn; the full and the empty one are in no fold."""
    fold = np.full(len(sizes), -1)
    for size in range(1, n):
        here = np.flatnonzero(sizes == size)
        fold[here] = np.arange(len(here)) % folds
    return fold


def _coefficients(rows: Bool[np.ndarray, "m n"]) -> Float[np.ndarray, "m n"]:
    """Returns ``C(n, s) a_i(S)``: ``1 / s`` for members and ``-1 / (n - s)`` for the others."""
    n = rows.shape[1]
    sizes = rows.sum(axis=1, keepdims=True)
    return np.where(rows, 1.0 / np.maximum(sizes, 1), -1.0 / np.maximum(n - sizes, 1))


def _quantile(parts: Float[np.ndarray, "k n"], degrees: Int[np.ndarray, "k"]) -> float:
    """Returns Student's 97.5 % quantile for a sum of variances (Welch & Satterthwaite)."""
    squares = (parts**2 / degrees[:, None]).sum(axis=0)
    total = parts.sum(axis=0) ** 2
    effective = np.divide(total, squares, out=np.full_like(total, np.inf), where=squares > 0)
    return float(stats.t.ppf(0.975, max(1.0, float(effective.min()))))
