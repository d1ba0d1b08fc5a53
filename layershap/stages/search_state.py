"""What a search of a run knows, and what it would measure next.

The first proposals are what all searches find on the fitted surrogate; from then on a process is
fitted to everything measured, and the sets with the largest expected improvement come next
(`shapley.search.SetSearch`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from cluster import Records
from layershap.results.candidates import CandidateSet
from layershap.runs.recorded import CALIBRATION, RecordedRun
from layershap.stages.fit import Fitted
from sampling import keys, without
from shapley import State
from shapley.search import FoundSets, Limits, SetSearch, propose
from surrogate.process.belief import ProcessLearner

__all__ = ["SearchState", "best_sets", "described"]

Set = tuple[int, ...]


class SearchState:
    """A search of a run: what it knows, what it would measure, where each set came from."""

    def __init__(
        self,
        run: RecordedRun,
        limits: Limits,
        counts: Sequence[int],
        design: Bool[np.ndarray, "m n"],
    ) -> None:
        self.run, self.limits = run, limits
        self.search = SetSearch(
            ProcessLearner(),
            tuple(counts),
            limits,
            most_a_round=run.config.search.candidates * len(counts),
            nested=run.config.search.nested,
        )
        self.proposed: dict[Set, tuple[str, float]] = {}
        nothing = State(run.players, design[:0], np.empty(0), run.config.measure.seed)
        self.state = self.extended(nothing, design)

    def from_surrogate(self, fitted: Fitted, room: int) -> Bool[np.ndarray, "k n"]:
        """Propose what all searches find on the fitted surrogate, the best of every count first.

        Args:
            fitted: the surrogate.
            room: most sets.
        """
        config, n = self.run.config, len(self.run.players)
        with self.run.console.status("searching on the surrogate"):
            found = propose(
                fitted.game(self.run.players),
                self.search.counts,
                config.measure.seed,
                per_count=2 * config.search.candidates + 4,
                limits=self.limits,
            )
        known, rows = set(keys(self.state.coalitions)), []
        taken = dict.fromkeys(found, 0)
        for rank in range(max(map(len, found.values()))):
            for count, candidates in found.items():
                if rank >= len(candidates) or taken[count] >= config.search.candidates:
                    continue
                row = without(n, candidates[rank].removed)
                if keys(row[None])[0] not in known:
                    rows.append((row, candidates[rank]))
                    taken[count] += 1
        for _, candidate in rows[:room]:
            self.proposed[candidate.removed] = (candidate.source, candidate.utility)
        return np.array([row for row, _ in rows[:room]]).reshape(-1, n)

    def promising(self, room: int) -> Bool[np.ndarray, "k n"]:
        """Propose the next round of the Bayesian search, at most `room` sets."""
        with self.run.console.status("learning from what is measured"):
            acquisition = self.search.evaluate(self.state)
            rows = self.search.propose_from(acquisition, room)
            expected = acquisition.expectation(rows) if len(rows) else np.empty(0)
        for row, utility in zip(rows, expected, strict=True):
            self.proposed[_set(row)] = (self.search.name, float(utility))
        return rows

    def extended(self, state: State, rows: Bool[np.ndarray, "k n"]) -> State:
        """The state with what the ledger has of these rows; what is not finite is the worst."""
        utilities = self.run.campaign(CALIBRATION).read(rows).utilities
        known = np.concatenate([state.utilities, utilities])
        worst = known[np.isfinite(known)].min()
        return dataclasses.replace(state).extended(
            rows, np.where(np.isfinite(utilities), utilities, worst)
        )


def best_sets(
    records: Records,
    count: int,
    searched: SearchState,
    baselines: Mapping[str, Mapping[int, Set]],
    found: FoundSets,
    most: int = 5,
) -> tuple[CandidateSet, ...]:
    """The best measured sets of one size that the limits allow, whoever found them."""
    dense = float(records.utilities[records.coalitions.all(axis=1)][0])
    fits = searched.limits.allowed(records.coalitions)
    rows = np.flatnonzero(records.ok & fits & ((~records.coalitions).sum(axis=1) == count))
    rows = rows[np.argsort(-records.utilities[rows], kind="stable")][:most]
    if searched.search.nested and found.sets[count]:
        chain = [
            row for row in rows if _set(records.coalitions[row]) == found.sets[count][0].removed
        ]
        rows = np.array(chain, dtype=np.int64)
    sets = []
    for row in rows:
        removed = _set(records.coalitions[row])
        source, predicted = searched.proposed.get(removed, ("design", None))
        if removed not in searched.proposed:
            names = [name for name, by_count in baselines.items() if by_count.get(count) == removed]
            source = names[0] if names else source
        utility = float(records.utilities[row])
        sets.append(CandidateSet(removed, utility, dense - utility, predicted, source))
    return tuple(sets)


def described(limits: Limits, nested: bool) -> list[str]:
    """The limits as a person reads them."""
    described = [f"saves at least {saving.text(saving.least)}" for saving in limits.savings]
    described += ["layers in one unbroken run"] if limits.contiguous else []
    described += ["halves go in pairs, side by side"] if limits.pairs is not None else []
    return described + (["every set holds the smaller ones"] if nested else [])


def _set(row: np.ndarray) -> Set:
    return tuple(np.flatnonzero(~row).tolist())
