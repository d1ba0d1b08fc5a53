"""Active search: measure, learn, look where a better set may be, measure there, and again.

Any learner will do that tells what it expects of a set and how unsure it is
(:class:`shapley.search.acquisition.Learner`). Each round measures the sets of every wanted count
that promise the largest expected improvement on the best measured one (Jones, Schonlau & Welch,
J. Global Optimization 1998, equation 15).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool

from sampling.coalitions import full
from sampling.streams import stream
from shapley.estimator import State
from shapley.estimators.state import unmeasured
from shapley.search.acquisition import Acquisition, Learner
from shapley.search.candidate import Candidate
from shapley.search.constraints import Limits

__all__ = ["FoundSets", "SetSearch"]


@dataclass(frozen=True, eq=False)
class FoundSets:
    """What a search has found.

    Attributes:
        sets: for each count the best measured sets that the limits allow, best first; none where
            no such set is measured yet.
        expected: for each count without a measured set the one that is expected to be best.
        chances: for each count at most the probability, under the belief, that any set which is
            not measured is better than the best measured one (the sum over the pool).
        spent: distinct coalitions measured.
        settled: whether the search has no use for more measurements.
    """

    sets: dict[int, tuple[Candidate, ...]]
    expected: dict[int, Candidate]
    chances: dict[int, float]
    spent: int
    converged: bool


@dataclass(frozen=True, eq=False)
class SetSearch:
    """Search for the best sets of several sizes by measuring few of them.

    Opens with all players, the single removals and random sets of the wanted sizes (what is
    measured already counts). Then in rounds: learn from everything measured, look at every set
    that is not measured (or, where they are too many, at those near the best measured and the
    best expected ones), and measure those that promise most. It stops by itself once the best sets
    have been the same for ``patience`` rounds and the chance of a better one is below
    ``doubt`` at every count.

    Attributes:
        learner: of utilities.
        counts: numbers of players to remove.
        limits: constraints on the sets.
        growth: coalitions of a round, as a share of those measured before it.
        most_a_round: coalitions of a round at most.
        opening: coalitions before the first round, a player.
        pool: sets of each count that are compared in a round, those expected to be best.
        most_enumerated: most sets in all that are looked at one by one.
        patience: rounds without a better set after which the search may stop.
        doubt: chance of a better set below which it may stop.
        nested: whether every set holds the smaller ones; the sets are then those of the chain
            whose utilities have the largest sum, and ``chances`` still compare with single sets.
        name: what people call it.
    """

    learner: Learner
    counts: tuple[int, ...]
    limits: Limits
    growth: float = 0.15
    most_a_round: int | None = None
    opening: float = 4.0
    pool: int = 300
    most_enumerated: int = 20_000
    patience: int = 6
    stop_probability: float = 1e-4
    nested: bool = False
    name: str = "active"
    _latest: list[Acquisition] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", self.limits.check(self.counts))

    def propose(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns the coalitions to measure next, decided by the state and the count."""
        return self.propose_from(self.evaluate(state), count)

    def result(self, state: State) -> FoundSets:
        """Returns the best measured sets and how likely better ones are.

        Raises:
            ValueError: if nothing is measured yet.
        """
        if not state.spent:
            raise ValueError("a search needs measurements to tell a result; measure some first")
        acquisition = self.evaluate(state)
        found = {size: acquisition.best(size) for size in self.counts}
        if self.nested:
            found = acquisition.best_chain(found)
        expected = {size: acquisition.expected(size) for size in self.counts if not found[size]}
        return FoundSets(found, expected, acquisition.chances, state.spent, acquisition.converged)

    def evaluate(self, state: State) -> Acquisition:
        """Evaluates what the measurements tell about where better sets may be.

        A state that was the last one evaluated is not evaluated again.
        """
        if not self._latest or self._latest[0].state is not state:
            self._latest[:] = [Acquisition(self, state)]
        return self._latest[0]

    def propose_from(self, acquisition: Acquisition, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns what to measure next, at most ``count`` rows: the rest of the opening, a round.

        Args:
            acquisition: of the state, from :meth:`evaluate`.
            count: most coalitions.
        """
        state = acquisition.state
        if count < 1:
            return state.coalitions[:0]
        opening = self.opening_rows(state, count)
        if len(opening):
            return opening
        return acquisition.most_promising(min(count, self.round_size(state.spent)))

    def round_size(self, spent: int) -> int:
        """Returns how many coalitions a round measures after so many."""
        size = int(self.growth * spent)
        return max(
            len(self.counts), size if self.most_a_round is None else min(size, self.most_a_round)
        )

    def opening_rows(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Returns what is measured before there is anything to learn from, if that is missing."""
        n, free = state.n, self.limits.free
        singles = np.ones((len(free), n), dtype=bool)
        singles[np.arange(len(free)), free] = False
        first = unmeasured(state, np.concatenate([full(n)[None], singles]), count)
        wanted = min(round(self.opening * n) + n + 1, max(n + 2, (count + state.spent) // 2))
        more = min(wanted - state.spent, count) - len(first)
        if more <= 0:
            return first if state.spent < wanted else first[:0]
        drawn = self._random_sets(state, 4 * more)
        rows = np.concatenate([first, unmeasured(state, drawn, len(drawn))])
        rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
        return rows[: len(first) + more]

    def _random_sets(self, state: State, count: int) -> Bool[np.ndarray, "k n"]:
        """Distinct sets of random sizes up to the largest count, in random order."""
        rng = stream(state.seed, "opening of a search", state.spent)
        if self.limits.contiguous:
            rows = np.concatenate([self.limits.runs(size) for size in self.counts])
        else:
            rows = np.ones((count, state.n), dtype=bool)
            for row in rows:
                size = rng.integers(1, self.counts[-1] + 1)
                row[rng.choice(self.limits.free, size=size, replace=False)] = False
            rows = np.unique(rows, axis=0)
        return rows[rng.permutation(len(rows))]
