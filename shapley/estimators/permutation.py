"""Marginal contributions along random permutations, forward and backward."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from sampling.coalitions import keys
from sampling.permutations import chains
from sampling.streams import stream
from shapley.estimator import State, check_budget, estimate
from shapley.estimators.state import ends, exact_if_complete, known_ends, rest, unmeasured
from shapley.game import Game
from shapley.values import Status, Values

__all__ = ["Permutation", "permutation_values"]

MOST_IDLE = 2_000
BLOCK = 64


@dataclass(frozen=True)
class Permutation:
    """Mean marginal contributions along random permutations (Castro et al. 2009).

    Each permutation is walked from a random place on, round its end, so that a walk which the
    budget cuts short reaches every position equally often. Walks follow one sequence that only the
    seed decides: what is proposed does not depend on how it is cut into steps, and a larger
    budget contains a smaller one's coalitions. Coalitions that walks share are measured once.
    A step that reaches all ``2^n`` coalitions takes those that are left in order of enumeration.

    Attributes:
        antithetic: walk each permutation in reverse as well, which takes the complements
            (Mitchell et al. 2022).
    """

    antithetic: bool = True

    @property
    def name(self) -> str:
        """What people call it."""
        return "permutation"

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns the next coalitions of the walks; see ``Estimator``."""
        n = state.n
        if state.spent + count >= 1 << n:
            return rest(state, count)
        fresh = list(unmeasured(state, ends(n), count))
        known, met, idle = set(keys(state.coalitions)), set(keys(ends(n))), 0
        for walk in _walks(n, state.seed, self.antithetic):
            if len(fresh) >= count or idle == MOST_IDLE:
                break
            rows = walk.rows.reshape(-1, n)
            idle += 1
            for row, key in zip(rows, keys(rows), strict=True):
                if key in met:
                    continue
                met.add(key)
                idle = 0
                if key not in known:
                    fresh.append(row)
        found = np.array(fresh, dtype=bool).reshape(-1, n)[:count]
        if len(found) or count == 0:
            return found
        return rest(state, count)  # the few coalitions that walks hardly ever meet

    def result(self, state: State) -> Values:
        """Returns the values, shifted evenly to add up to ``v(N) - v(empty)``.

        Standard errors come from the spread of whole permutations, or of forward and reverse
        pairs when antithetic. Which walks count as whole is decided by what was left of the
        budget when they began, not by what they met, which keeps the mean free of bias.

        Raises:
            ValueError: if the empty or the full coalition was not measured.
        """
        n = state.n
        top, bottom = known_ends(state)
        if (exact := exact_if_complete(state, self.name)) is not None:
            return exact
        walked, prices = self._replayed(state)
        per_unit = 2 if self.antithetic else 1
        left = prices.sum() - np.cumsum(prices) + prices
        short = np.flatnonzero(left < per_unit * (n - 1))
        whole = int(short[0]) if len(short) else len(walked)

        totals, counts = np.zeros(n), np.zeros(n)
        means = np.empty((whole, n))
        for at, (players, gains) in enumerate(walked):
            totals[players] += gains
            counts[players] += 1.0
            if at < whole:
                means[at, players] = gains
        errors, quantile, status = None, 1.96, Status.WITHOUT_ERRORS
        if (counts == 0).any():
            status = Status.UNDERDETERMINED
        elif whole > 1:
            errors = means.std(axis=0, ddof=1) / np.sqrt(whole)
            quantile = float(stats.t.ppf(0.975, whole - 1))
            status = Status.ESTIMATED
        return Values.build(
            state.players,
            _efficient(totals, counts, float(top - bottom)),
            errors,
            method=self.name,
            status=status,
            spent=state.spent,
            budget=state.spent,
            quantile=quantile,
            diagnostics={"permutations": float(per_unit * whole)},
        )

    def _replayed(self, state: State) -> tuple[list[_Gains], Int[np.ndarray, "W"]]:
        """Walks again as far as the state goes; returns gains and how many rows each walk met.

        A row counts for the first walk that meets it. Only the last walk may be cut short.
        """
        n = state.n
        known = dict(zip(keys(state.coalitions), state.utilities.tolist(), strict=True))
        seen, idle = set(keys(ends(n))), 0
        walked, prices = [], []
        for walk in _walks(n, state.seed, self.antithetic):
            if idle == MOST_IDLE:
                break
            per_place = walk.rows.shape[1]
            row_keys = keys(walk.rows.reshape(-1, n))
            missing = [at for at, key in enumerate(row_keys) if key not in known]
            reached = missing[0] // per_place if missing else len(walk.places)
            met = row_keys[: missing[0]] if missing else row_keys
            fresh = set(met) - seen
            seen |= fresh
            idle = 0 if fresh else idle + 1
            utilities = np.array([known[key] for key in row_keys[: reached * per_place]])
            walked.append(walk.gains(utilities.reshape(reached, per_place)))
            prices.append(len(fresh))
            if missing:
                break
        return walked, np.array(prices, dtype=np.int64)


_Gains = tuple[Int[np.ndarray, "k"], Float[np.ndarray, "k"]]


@dataclass(frozen=True, eq=False)
class _Walk:
    """A permutation, and the coalitions that a walk along it meets.

    Attributes:
        order: the permutation.
        places: numbers of leading players kept, from the start round the end and back to it.
        rows: the coalitions of each place: its prefix and, when antithetic, the complement.
    """

    order: Int[np.ndarray, "n"]
    places: Int[np.ndarray, "P"]
    rows: Bool[np.ndarray, "P per n"]

    def gains(self, utilities: Float[np.ndarray, "k per"]) -> _Gains:
        """Returns the players that the first ``k`` places tell of and their mean gains."""
        reached = self.places[: len(utilities)]
        steps = np.flatnonzero(np.diff(reached) == 1)
        gains = utilities[steps + 1, 0] - utilities[steps, 0]
        if utilities.shape[1] == 2:
            gains = (gains + utilities[steps, 1] - utilities[steps + 1, 1]) / 2
        return self.order[reached[steps]], gains


def _walks(n: int, seed: int, antithetic: bool) -> Iterator[_Walk]:
    """Yields the endless sequence of walks of a seed."""
    rng = stream(seed, "permutation values", n)
    while True:
        draws = rng.random((BLOCK, n + 1))
        orders = np.argsort(draws[:, :n], axis=1)
        prefixes = chains(orders)
        for order, chain, start in zip(
            orders, prefixes, (draws[:, n] * n).astype(int), strict=True
        ):
            places = np.concatenate([np.arange(start, n + 1), np.arange(0, start + 1)])
            rows = np.stack([chain, ~chain] if antithetic else [chain], axis=1)[places]
            yield _Walk(order, places, rows)


def _efficient(
    totals: Float[np.ndarray, "n"], counts: Float[np.ndarray, "n"], span: float
) -> Float[np.ndarray, "n"]:
    """Returns means that add up to the span; players never reached share what is missing."""
    reached = counts > 0
    values = np.divide(totals, counts, out=np.zeros_like(totals), where=reached)
    missing = span - values.sum()
    if reached.all():
        return values + missing / len(values)
    values[~reached] = missing / (~reached).sum()
    return values


def permutation_values(game: Game, budget: int, seed: int = 0, antithetic: bool = True) -> Values:
    """Estimates Shapley values by :class:`Permutation`.

    Args:
        game: any game.
        budget: distinct coalitions to evaluate, at least 2. Exact from ``2^n`` on. The last one
            of an odd budget stays unspent when antithetic: half a pair tells nothing.
        seed: of the permutations.
        antithetic: walk each permutation in reverse as well.

    Raises:
        ValueError: if the budget is below 2.
    """
    check_budget(budget)
    used = budget - budget % 2 if antithetic else budget
    values = estimate(Permutation(antithetic), game, used, seed)
    return dataclasses.replace(values, budget=budget)
