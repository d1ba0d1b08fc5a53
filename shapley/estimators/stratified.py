"""Means over strata: coalitions of one size with and without a player."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from sampling.coalitions import keys
from sampling.strata import stratum_size
from shapley.estimator import State, estimate
from shapley.estimators.state import ends, exact_if_complete, known_ends, unmeasured
from shapley.estimators.strata import size_sequence
from shapley.game import Game
from shapley.values import Status, Values

__all__ = ["Stratified", "stratified_values"]

LEAST_SHARE = 0.1
REACH = 3


@dataclass(frozen=True)
class Stratified:
    """Stratum-wise marginal contributions from coalitions shared by all players.

    The mean marginal contribution of a player at size ``s`` is the mean utility of coalitions of
    size ``s + 1`` with the player less that of coalitions of size ``s`` without, so each
    measured coalition informs every player (Kolpaczki et al., AAAI 2024).

    With ``"neyman"`` a pilot is followed by counts in proportion to
    ``sqrt(sum_i (n/s var_in(i, s) + n/(n-s) var_out(i, s)))`` of the pilot, which makes the sum of
    the values' variances least (Castro et al. 2017, with one count a size instead of one a size
    and player, since no coalition serves one player alone). No size gets less than a tenth of the
    mean share. What is proposed does not depend on how it is cut into steps.

    Attributes:
        allocation: ``"equal"`` counts a size, or ``"neyman"``.
        pilot: the least coalitions of each size in the pilot of ``"neyman"``, at least 2; the
            smallest and largest sizes get up to ``3 n``. Budgets that end within the pilot are
            spent on it alone.
    """

    allocation: Literal["equal", "neyman"] = "equal"
    pilot: int = 8

    def __post_init__(self) -> None:
        if self.allocation not in ("equal", "neyman"):
            raise ValueError(f'allocation must be "equal" or "neyman", got {self.allocation!r}')
        if self.pilot < 2:
            raise ValueError(f"pilot must be at least 2 coalitions a size, got {self.pilot}")

    @property
    def name(self) -> str:
        """What people call it."""
        return "stratified" if self.allocation == "equal" else "stratified (Neyman)"

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns the next coalitions of the design; the pilot's alone while it lasts."""
        n, total = state.n, state.spent + count
        if self.allocation == "equal":
            design = np.concatenate([ends(n), size_sequence(n, total, state.seed)])
            return unmeasured(state, design, count)
        counts = [self._pilot_count(n, size) for size in range(1, n)]
        weights = np.maximum(counts, 1).tolist()
        pilot = np.concatenate([ends(n), size_sequence(n, sum(counts), state.seed, weights)])
        missing = unmeasured(state, pilot, count)
        if len(missing) or count == 0:
            return missing
        design = size_sequence(
            n, total, state.seed, self._weights(state, pilot[2:]).tolist(), counts
        )
        return unmeasured(state, design, count)

    def _pilot_count(self, n: int, size: int) -> int:
        """Returns the coalitions of a size in the pilot.

        A player whom the sample of a size never keeps (or never removes) gets the mean of the size,
        an error that spread does not tell of: both happen REACH times on average.
        """
        wanted = max(self.pilot, math.ceil(REACH * n / min(size, n - size)))
        return min(wanted, stratum_size(n, size))

    def _weights(self, state: State, pilot: Bool[np.ndarray, "P n"]) -> Float[np.ndarray, "n-1"]:
        """Returns each size's Neyman weight."""
        n = state.n
        known = dict(zip(keys(state.coalitions), state.utilities.tolist(), strict=True))
        measured = np.array([known[key] for key in keys(pilot)])
        sizes = pilot.sum(axis=1)
        weights = np.zeros(n - 1)
        for size in range(1, n):
            here = sizes == size
            if here.sum() > 1:
                (_, inside), (_, outside) = _sides(pilot[here], measured[here])
                weights[size - 1] = np.sqrt(here.sum() * (inside + outside).sum())
        mean = float(weights.sum()) / max(n - 1, 1)
        return np.maximum(weights, LEAST_SHARE * mean) if mean > 0 else np.ones(n - 1)

    def result(self, state: State) -> Values:
        """Returns the values, shifted evenly to add up to ``v(N) - v(empty)``.

        Where a sample has no coalition with (or without) a player, the mean of the size stands
        in.

        Raises:
            ValueError: if the empty or the full coalition was not measured.
        """
        n = state.n
        top, bottom = known_ends(state)
        if (exact := exact_if_complete(state, self.name)) is not None:
            return exact
        span = top - bottom
        sizes = state.coalitions.sum(axis=1)
        values, variance = np.full(n, span), np.zeros(n)
        imputed = False
        for size in range(1, n):
            here = sizes == size
            if not here.any():
                imputed, variance = True, variance + np.nan
                continue
            rows = state.coalitions[here]
            share = len(rows) / stratum_size(n, n - size)
            inside, outside = _sides(rows, state.utilities[here])
            values = values + inside[0] - outside[0]
            imputed = imputed or bool((rows.all(axis=0) | ~rows.any(axis=0)).any())
            if share < 1.0:
                variance = variance + (1.0 - share) * (inside[1] + outside[1])
        values = values / n
        values += (span - values.sum()) / n
        errors = np.sqrt(variance) / n
        finite = bool(np.isfinite(errors).all())
        return Values.build(
            state.players,
            values,
            errors if finite else None,
            method=self.name,
            status=Status.ESTIMATED if finite else Status.WITHOUT_ERRORS,
            spent=state.spent,
            budget=state.spent,
            diagnostics={"empty_strata": float(imputed)},
        )


_Moments = tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]


def _sides(
    rows: Bool[np.ndarray, "k n"], utilities: Float[np.ndarray, "k"]
) -> tuple[_Moments, _Moments]:
    """Returns for each player the mean (less that of all rows) and its variance, with and without.

    Players with fewer than two rows borrow the variance of the whole size.
    """
    centred = utilities - utilities.mean()
    spread = float(utilities.var(ddof=1)) if len(utilities) > 1 else np.nan

    def moments(member: Float[np.ndarray, "k n"]) -> _Moments:
        counts = member.sum(axis=0)
        some = np.maximum(counts, 1.0)
        mean = (centred @ member) / some
        squares = (centred**2) @ member - some * mean**2
        own = np.maximum(squares, 0.0) / np.maximum(counts - 1.0, 1.0)
        return mean, np.where(counts > 1, own, spread) / some

    kept = rows.astype(np.float64)
    return moments(kept), moments(1.0 - kept)


def stratified_values(game: Game, budget: int, seed: int = 0) -> Values:
    """Estimates Shapley values by :class:`Stratified` with equal counts.

    Args:
        game: any game.
        budget: distinct coalitions to evaluate, at least 2. All of it is used; exact from
            ``2^n`` on.
        seed: of the design.

    Raises:
        ValueError: if the budget is below 2.
    """
    return estimate(Stratified("equal"), game, budget, seed)
