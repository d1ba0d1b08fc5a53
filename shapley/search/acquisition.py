"""What the measurements of a search tell: what is best so far, and where better may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from sampling.coalitions import keys
from shapley.estimator import State
from shapley.estimators.state import unmeasured
from shapley.search.candidate import Candidate, from_rows, rows_of
from shapley.search.constraints import Limits
from shapley.search.known import MeasuredFirstGame
from shapley.search.nested import nested_search
from shapley.search.pool import Neighbourly, every_set, near_sets
from shapley.search.scale import Scale, make_scale

__all__ = ["Acquisition", "Belief", "Learner", "Settings"]

RUNNERS_UP = 5
CHAINS = 16
# Sets that are compared in a round, over all counts, and of each count at least.
COMPARED, LEAST_COMPARED = 2000, 24
# From so many measurements on, what is fitted to them stays until there are a quarter more.
STUDIED, STUDIED_GROWTH = 150, 1.25


class Belief(Neighbourly, Protocol):
    """What a learner expects of coalitions that are not measured."""

    def deviation(self, coalitions: Bool[np.ndarray, "B n"], /) -> Float[np.ndarray, "B"]:
        """Returns the standard deviations of the utilities."""
        ...


class Learner(Protocol):
    """Learns utilities from measured coalitions."""

    def __call__(
        self,
        coalitions: Bool[np.ndarray, "m n"],
        utilities: Float[np.ndarray, "m"],
        seed: int,
        /,
        studied: Float[np.ndarray, "g"] | None = None,
    ) -> Belief:
        """Returns what the measurements tell about all other coalitions.

        Args:
            coalitions: measured rows, True = kept.
            utilities: one a row, finite.
            seed: of what is drawn.
            studied: utilities of the first ``g`` rows, on a scale of their own, which are enough
                to learn what is dear to learn; all of them when omitted.
        """
        ...


class Settings(Protocol):
    """What is searched for and how; the attributes of `shapley.search.bayesian.SetSearch`."""

    @property
    def learner(self) -> Learner:
        """Learns utilities."""
        ...

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of players to remove."""
        ...

    @property
    def limits(self) -> Limits:
        """Constraints on the sets."""
        ...

    @property
    def growth(self) -> float:
        """Coalitions of a round, as a share of those before."""
        ...

    @property
    def pool(self) -> int:
        """Sets of each count that are compared."""
        ...

    @property
    def most_enumerated(self) -> int:
        """Most sets that are looked at one by one."""
        ...

    @property
    def patience(self) -> int:
        """Rounds without a better set before it may stop."""
        ...

    @property
    def stop_probability(self) -> float:
        """Chance of a better set below which it may stop."""
        ...

    @property
    def nested(self) -> bool:
        """Whether every set holds the smaller ones."""
        ...

    @property
    def name(self) -> str:
        """What people call the search."""
        ...


class Acquisition:
    """Evaluates a state: what is best, what is believed, what promises more."""

    def __init__(self, search: Settings, state: State) -> None:
        """Takes a state; everything is computed when it is first asked for."""
        self.search, self.state = search, state
        self.sizes = (~state.coalitions).sum(axis=1)
        self._fits = search.limits.allowed(state.coalitions)

    def places(self, size: int) -> Int[np.ndarray, "p"]:
        """Measured sets of a size that the limits allow."""
        return np.flatnonzero(self._fits & (self.sizes == size))

    def best(self, size: int) -> tuple[Candidate, ...]:
        """The best measured sets of a size, best first."""
        state, places = self.state, self.places(size)
        best = places[np.argsort(-state.utilities[places], kind="stable")][:RUNNERS_UP]
        rows, utilities = state.coalitions[best], state.utilities[best]
        return tuple(from_rows(rows, utilities, self.search.name))

    @cached_property
    def leaders(self) -> dict[int, int]:
        """The best measured set of each count, where there is one."""
        utilities = self.state.utilities
        return {
            size: int(places[utilities[places].argmax()])
            for size in self.search.counts
            if len(places := self.places(size))
        }

    @cached_property
    def scale(self) -> Scale:
        """The scale on which utilities are learnt."""
        utilities = self.state.utilities
        return make_scale(utilities, utilities[[*self.leaders.values()]])

    @cached_property
    def scaled(self) -> Float[np.ndarray, "m"]:
        """Measured utilities on that scale."""
        return self.scale(self.state.utilities)

    @cached_property
    def belief(self) -> Belief:
        """What the learner makes of them."""
        state, size = self.state, studied(self.state.spent)
        earlier = Acquisition(self.search, state.first(size)).scaled
        return self.search.learner(state.coalitions, self.scaled, state.seed + size, earlier)

    @cached_property
    def pool(self) -> Bool[np.ndarray, "N n"]:
        """Sets that are not measured, of every count those that are expected to be best."""
        search, counts = self.search, self.search.counts
        most = min(search.pool, max(LEAST_COMPARED, COMPARED // len(counts)))
        known = set(keys(self.state.coalitions))
        rows = every_set(search.limits, counts, search.most_enumerated)
        mean = None
        if rows is None:
            elite = np.concatenate([self._elite(size) for size in counts])
            rows, mean = near_sets(self.belief, elite, search.limits, counts, 2 * most)
        fresh = np.array([key not in known for key in keys(rows)], dtype=bool)
        rows = rows[fresh]
        sizes, mean = (~rows).sum(axis=1), self.belief.mean(rows) if mean is None else mean[fresh]
        kept = []
        for size in counts:
            places = np.flatnonzero(sizes == size)
            kept.append(places[np.argsort(-mean[places], kind="stable")][:most])
        return rows[np.concatenate(kept)]

    @cached_property
    def gains(self) -> tuple[Float[np.ndarray, "N"], Float[np.ndarray, "N"]]:
        """Expected improvement of each set of the pool (a logarithm), and its probability."""
        sizes = (~self.pool).sum(axis=1)
        best = np.full(self.state.n + 1, -np.inf)
        for size, place in self.leaders.items():
            best[size] = self.scaled[place]
        deviation = np.maximum(self.belief.deviation(self.pool), 1e-12)
        lead = (self.belief.mean(self.pool) - best[sizes]) / deviation
        lead = np.minimum(lead, 1e6)  # a count without any measured set comes first
        density = np.exp(-0.5 * lead**2) / np.sqrt(2 * np.pi)
        improvement = deviation * (lead * special.ndtr(lead) + density)
        # Far below the leader the exact formula cancels; its leading term does not.
        far = np.log(deviation) - 0.5 * lead**2 - 2 * np.log(np.maximum(-lead, 1.0))
        log_gain = np.where(lead > -6, np.log(np.maximum(improvement, 1e-300)), far)
        return log_gain, special.ndtr(lead)

    @cached_property
    def chances(self) -> dict[int, float]:
        """For each count the summed probabilities of an improvement, at most 1."""
        if not len(self.pool):
            return dict.fromkeys(self.search.counts, 0.0)
        sizes, chance = (~self.pool).sum(axis=1), self.gains[1]
        return {size: float(min(chance[sizes == size].sum(), 1.0)) for size in self.search.counts}

    def expected(self, size: int) -> Candidate:
        """The set of a size that is expected to be best among those not measured."""
        rows = self.pool[(~self.pool).sum(axis=1) == size]
        mean = self.expectation(rows)
        return from_rows(rows, mean, "expected")[int(mean.argmax())]

    def expectation(self, rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Expected utilities."""
        return self.scale.utilities(self.belief.mean(rows))

    def chain(self, penalty: float = 0.0) -> Bool[np.ndarray, "c n"]:
        """The nested sets of the counts with the largest sum, by what is measured or expected."""
        state, search = self.state, self.search
        worst = state.utilities.min()

        def expected(rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
            return np.maximum(self.expectation(rows), worst)  # far down the scale errors explode

        game = MeasuredFirstGame(
            expected, state.coalitions, state.utilities, state.players, penalty
        )
        return rows_of(
            [*nested_search(game, search.counts, CHAINS, search.limits).values()], state.n
        )

    def best_chain(
        self, free: Mapping[int, Sequence[Candidate]]
    ) -> dict[int, tuple[Candidate, ...]]:
        """The best nested sets of those measured; of a count whose set is not measured, none."""
        rows = self.chain(penalty=10.0 * (float(np.ptp(self.state.utilities)) or 1.0))
        found: dict[int, tuple[Candidate, ...]] = dict.fromkeys(free, ())
        known = dict(zip(keys(self.state.coalitions), self.state.utilities, strict=True))
        for row, key in zip(rows, keys(rows), strict=True):
            if key in known:
                found[int((~row).sum())] = tuple(
                    from_rows(row[None], np.array([known[key]]), self.search.name)
                )
        return found

    @cached_property
    def _open_chain(self) -> Bool[np.ndarray, "k n"]:
        """Sets of the best expected chain that are not measured."""
        if not self.search.nested:
            return self.state.coalitions[:0]
        rows = self.chain()
        return unmeasured(self.state, rows, len(rows))

    @cached_property
    def converged(self) -> bool:
        """Whether the leaders have lasted and nothing is likely to beat them."""
        if len(self._open_chain):
            return False
        if not len(self.pool):
            return True
        if len(self.leaders) < len(self.search.counts):
            return False
        lasted, since = 0, max(self.leaders.values()) + 1
        spent = self.state.spent
        while lasted < self.search.patience and spent > since:
            spent = int(spent / (1 + self.search.growth))
            lasted += spent >= since
        quiet = max(self.chances.values()) < self.search.stop_probability
        return lasted >= self.search.patience and quiet

    def most_promising(self, batch: int) -> Bool[np.ndarray, "k n"]:
        """The sets of a round: the most promising one of every count, then the rest by promise.

        None once the search is settled.
        """
        if self.converged:
            return self.pool[:0]
        if len(self._open_chain):
            return self._open_chain[:batch]
        gain, sizes = self.gains[0], (~self.pool).sum(axis=1)
        order = np.argsort(-gain, kind="stable")
        firsts = [order[sizes[order] == size][:1] for size in self.search.counts]
        first = np.concatenate(firsts)
        first = first[np.argsort(-gain[first], kind="stable")]
        rest = order[~np.isin(order, first)]
        return self.pool[np.concatenate([first, rest])[:batch]]

    def _elite(self, size: int, most: int = 6) -> Bool[np.ndarray, "e n"]:
        places = self.places(size)
        best = places[np.argsort(-self.state.utilities[places], kind="stable")][:most]
        return self.state.coalitions[best]


def studied(spent: int) -> int:
    """Returns how many of the first measurements the dear part of a belief is learnt from.

    All while they are few; then sizes on a fixed grid, so that it follows from the number alone.
    """
    size = min(spent, STUDIED)
    while int(size * STUDIED_GROWTH) <= spent and size >= STUDIED:
        size = int(size * STUDIED_GROWTH)
    return size
