"""Stage 4: search, measure what promises most, learn, and search again.

The first candidates are what all searches find on the fitted surrogate; from then on a process is
fitted to everything measured in every round, and the sets with the largest expected improvement
are measured (`shapley.search.SetSearch`). The baselines' sets are admitted as candidates, so that
no recommendation loses to them on the calibration text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from cluster import Records
from layershap.results.candidates import CANDIDATES, Candidates, CandidateSet
from layershap.runs.design import read_design
from layershap.runs.workspace import CALIBRATION, Workspace
from layershap.stages.baselines import baseline_sets
from layershap.stages.constraints import search_limits
from layershap.stages.fit import Fitted, fit, load_fitted
from sampling import keys, without
from shapley import State
from shapley.search import FoundSets, Limits, SetSearch, propose
from surrogate.process.belief import process_belief

__all__ = ["search"]

Set = tuple[int, ...]


def search(work: Workspace, fitted: Fitted | None = None) -> Candidates:
    """Settle on the best measured set for each count and write `candidates.json`.

    Raises:
        UserError: no set satisfies the run's limits.
    """
    plan = work.recorded.plan
    limits, counts = search_limits(work)
    first = fitted or load_fitted(work.recorded)
    design = read_design(work.recorded)
    searched = _Searched(work, limits, counts, design)
    searched.run(first, plan.for_search)
    with_baselines = baseline_sets(work, counts)
    found = searched.search.result(searched.state)
    records = work.campaign(CALIBRATION).read()
    best = {count: _best(records, count, searched, with_baselines, found) for count in counts}
    campaign = work.campaign(CALIBRATION)
    extra = campaign.counts().total - searched.state.spent
    candidates = Candidates(
        fingerprint=campaign.fingerprint,
        budget=plan.budget,
        spent=searched.state.spent,
        spent_on_baselines=max(extra, 0),
        exact=plan.exact,
        settled=found.converged,
        chance_of_better=found.chances,
        limits=tuple(_described(limits, work.config.search.nested)),
        sets=best,
        baselines=with_baselines,
    )
    CANDIDATES.write(work.directory.path, candidates)
    fit(work.recorded, everything=True)
    for count, chosen in candidates.chosen.items():
        work.console.say(
            f"remove {count}: {work.named(chosen.removed)} costs "
            f"{chosen.cost:+.4f} {work.utility.unit} ({chosen.source})"
        )
    return candidates


class _Searched:
    """A search on the real model: what it knows, and where each set came from."""

    def __init__(
        self,
        work: Workspace,
        limits: Limits,
        counts: Sequence[int],
        design: Bool[np.ndarray, "m n"],
    ) -> None:
        self.work, self.limits = work, limits
        self.search = SetSearch(
            process_belief,
            tuple(counts),
            limits,
            most_a_round=work.config.search.candidates * len(counts),
            nested=work.config.search.nested,
        )
        self.proposed: dict[Set, tuple[str, float]] = {}
        nothing = State(work.players, design[:0], np.empty(0), work.config.measure.seed)
        self.state = self._extended(nothing, design)

    def run(self, fitted: Fitted, budget: int) -> None:
        """Rounds of measuring until the best sets have settled or the budget is spent."""
        spent = self.state.spent
        for number in range(1, self.work.config.search.rounds + 1):
            room = budget - (self.state.spent - spent)
            rows = self._from_surrogate(fitted, room) if number == 1 else self._promising(room)
            if not len(rows) and number > 1:
                self.work.console.say("the best sets have lasted, and a better one is unlikely")
                return
            if not len(rows):
                continue
            self.work.measure(CALIBRATION, rows, f"search round {number}")
            self.state = self._extended(self.state, rows)
            best = self.work.incumbent.now()
            self.work.console.say(
                f"search round {number}: {len(rows)} candidates measured{best and f'; {best}'}"
            )
            if self.state.spent - spent >= budget:
                return

    def _from_surrogate(self, fitted: Fitted, room: int) -> Bool[np.ndarray, "k n"]:
        """What all searches find on the fitted surrogate, the best of every count first."""
        config, n = self.work.config, len(self.work.players)
        with self.work.console.status("searching on the surrogate"):
            found = propose(
                fitted.game(self.work.players),
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

    def _promising(self, room: int) -> Bool[np.ndarray, "k n"]:
        """The next round of the active search."""
        with self.work.console.status("learning from what is measured"):
            acquisition = self.search.evaluate(self.state)
            rows = self.search.propose_from(acquisition, room)
            expected = acquisition.expectation(rows) if len(rows) else np.empty(0)
        for row, utility in zip(rows, expected, strict=True):
            self.proposed[_set(row)] = (self.search.name, float(utility))
        return rows

    def _extended(self, state: State, rows: Bool[np.ndarray, "k n"]) -> State:
        """The state with what the ledger has of these rows; what is not finite is the worst."""
        utilities = self.work.campaign(CALIBRATION).read(rows).utilities
        known = np.concatenate([state.utilities, utilities])
        worst = known[np.isfinite(known)].min()
        return dataclasses.replace(state).extended(
            rows, np.where(np.isfinite(utilities), utilities, worst)
        )


def _best(
    records: Records,
    count: int,
    searched: _Searched,
    baselines: dict[str, dict[int, Set]],
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
            names = [name for name, by_count in baselines.items() if by_count[count] == removed]
            source = names[0] if names else source
        utility = float(records.utilities[row])
        sets.append(CandidateSet(removed, utility, dense - utility, predicted, source))
    return tuple(sets)


def _described(limits: Limits, nested: bool) -> list[str]:
    """The limits as a person reads them."""
    described = [f"saves at least {saving.text(saving.least)}" for saving in limits.savings]
    described += ["layers in one unbroken run"] if limits.contiguous else []
    return described + (["every set holds the smaller ones"] if nested else [])


def _set(row: np.ndarray) -> Set:
    return tuple(np.flatnonzero(~row).tolist())
