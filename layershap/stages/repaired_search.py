"""Sets that are best once what is left of them is repaired.

Repair changes which set wins: one wide cut is easier to bridge than five narrow ones. Few sets are
measured repaired, on the calibration text; what is known of all sets without repair tells where to
look (`surrogate.process.transferred`). The best sets without repair and the best unbroken runs come
first, the baselines' besides, then those that promise most.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool

from cluster import WorkerRefused
from decoder import TextError
from decoder.errors import ModelError, RepairError
from layershap.errors import UserError
from layershap.results.candidates import CandidateSet, RepairedSearch
from layershap.runs.repair import refuse_quantised
from layershap.runs.workspace import CALIBRATION, REPAIRED, Workspace
from layershap.stages.search_state import SearchState
from sampling import keys, without
from shapley import State
from shapley.search import SetSearch
from surrogate.process.transferred import TransferredLearner

__all__ = ["search_repaired"]

_SOURCE = "repaired"
_OPENING = 0.5  # of the budget; the rest goes where a better set may be
_RUNNERS_UP = 3

Set = tuple[int, ...]


def search_repaired(
    work: Workspace, searched: SearchState, baselines: Mapping[str, Mapping[int, Set]]
) -> RepairedSearch | None:
    """Search for the sets that are best repaired, and measure them without repair as well.

    Args:
        work: the run.
        searched: what its search without repair knows.
        baselines: the published methods' sets, by method and count.

    Returns:
        what was found; None where the run asks for no repair, or the model cannot be repaired.
    """
    budget = work.config.repaired_evaluations(len(work.players))
    if not budget:
        return None
    try:
        refuse_quantised(work)
        rivals = [without(searched.state.n, s) for by in baselines.values() for s in by.values()]
        state = _measured(work, _nothing(searched), np.array(rivals, dtype=bool), "baselines")
        return _search(work, searched, state, budget)
    except (ModelError, RepairError, TextError, UserError, WorkerRefused) as error:
        work.console.warn(
            f"sets are chosen as they are, not by what repair leaves of them: {error}"
        )
        return None


def _search(work: Workspace, searched: SearchState, state: State, budget: int) -> RepairedSearch:
    plain = searched.search
    search = SetSearch(
        TransferredLearner(plain.evaluate(searched.state).belief),
        plain.counts,
        searched.limits,
        most_a_round=plain.most_a_round,
        nested=plain.nested,
        name=_SOURCE,
    )
    free = state.spent
    state = _measured(work, state, _opening(searched, max(1, int(_OPENING * budget))), "opening")
    for number in range(1, work.config.search.rounds + 1):
        room = budget - (state.spent - free)
        if room < 1:
            break
        with work.console.status("learning from what is repaired"):
            acquisition = search.evaluate(state)
            rows = acquisition.most_promising(min(room, search.round_size(state.spent)))
        if not len(rows):
            break
        state = _measured(work, state, rows, f"round {number}")
    acquisition = search.evaluate(state)
    found = search.result(state)
    best = {count: [one.removed for one in sets] for count, sets in found.sets.items()}
    leaders = [without(state.n, sets[0]) for sets in best.values() if sets]
    work.measure(CALIBRATION, np.array(leaders), "the best repaired sets as they are")
    kept = {count: _kept(work, searched, state, sets) for count, sets in best.items()}
    _say(work, searched, kept, state.spent)
    fingerprint = work.fingerprint(REPAIRED)
    return RepairedSearch(fingerprint, state.spent, acquisition.converged, kept)


def _nothing(searched: SearchState) -> State:
    state = searched.state
    return State(state.players, state.coalitions[:0], np.empty(0), state.seed)


def _measured(work: Workspace, state: State, rows: Bool[np.ndarray, "k n"], what: str) -> State:
    """The state with these rows and the whole model; what is not finite is the worst."""
    rows = np.concatenate([np.ones((1, state.n), dtype=bool), rows.reshape(-1, state.n)])
    known = set(keys(state.coalitions))
    fresh = dict.fromkeys(key for key in keys(rows) if key not in known)
    places = dict(zip(keys(rows), range(len(rows)), strict=True))
    rows = rows[[places[key] for key in fresh]]
    if not len(rows):
        return state
    work.measure(REPAIRED, rows, f"repaired sets, {what}")
    utilities = work.campaign(REPAIRED).read(rows).utilities
    every = np.concatenate([state.utilities, utilities])
    if not np.isfinite(every).any():
        raise RepairError("no set could be repaired")
    worst = every[np.isfinite(every)].min()
    return dataclasses.replace(state).extended(
        rows, np.where(np.isfinite(utilities), utilities, worst)
    )


def _opening(searched: SearchState, most: int) -> Bool[np.ndarray, "k n"]:
    """For each count the best measured sets without repair and the runs that are believed best."""
    acquisition = searched.search.evaluate(searched.state)
    by_rank: list[list[np.ndarray]] = [[] for _ in range(2 * _RUNNERS_UP)]
    for count in searched.search.counts:
        plain = [without(searched.state.n, one.removed) for one in acquisition.best(count)]
        runs = searched.limits.runs(count)
        order = np.argsort(-acquisition.belief.mean(runs), kind="stable") if len(runs) else []
        for rank, row in enumerate(plain[:_RUNNERS_UP]):
            by_rank[2 * rank].append(row)
        for rank, place in enumerate(order[:_RUNNERS_UP]):
            by_rank[2 * rank + 1].append(runs[place])
    rows = np.array([row for rank in by_rank for row in rank], dtype=bool)
    rows = rows.reshape(-1, searched.state.n)
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return rows[first][: max(most, len(searched.search.counts))]


def _kept(
    work: Workspace, searched: SearchState, state: State, sets: Iterable[Set]
) -> tuple[CandidateSet, ...]:
    """Sets with their costs before and after, those alone that are measured both ways."""
    repaired = dict(zip(keys(state.coalitions), state.utilities, strict=True))
    whole = np.ones((1, state.n), dtype=bool)
    campaign, found = work.campaign(CALIBRATION), []
    for removed in sets:
        row = without(state.n, removed)[None]
        if campaign.missing(row).any():
            continue
        plain, dense = campaign.read(np.concatenate([row, whole])).utilities
        if not np.isfinite(plain):
            continue
        source, predicted = searched.proposed.get(removed, (_SOURCE, None))
        cost = float(repaired[keys(whole)[0]] - repaired[keys(row)[0]])
        found.append(
            CandidateSet(removed, float(plain), float(dense - plain), predicted, source, cost)
        )
    return tuple(found)


def _say(
    work: Workspace,
    searched: SearchState,
    kept: Mapping[int, tuple[CandidateSet, ...]],
    spent: int,
) -> None:
    acquisition = searched.search.evaluate(searched.state)
    before = {c: [one.removed for one in acquisition.best(c)[:1]] for c in kept}
    changed = [c for c, sets in kept.items() if sets and [sets[0].removed] != before[c]]
    counts = ", ".join(map(str, changed))
    told = f"other sets are best for {counts} removed" if changed else "the best sets stay the best"
    work.console.say(f"{spent} sets measured repaired: {told}")
