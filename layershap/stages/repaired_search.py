"""Sets that are best once what is left of them is repaired.

Repair changes which set wins: one wide cut is easier to bridge than five narrow ones. Few sets are
measured repaired, on twice the calibration text; what is known of all sets without repair tells
where to look (`surrogate.process.transferred`). The best sets without repair and the best unbroken
runs come first, the baselines' besides, then those that promise most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from cluster import WorkerRefused
from decoder import TextError
from decoder.errors import ModelError, RepairError
from layershap.errors import UserError
from layershap.results.candidates import CandidateSet, RepairedSearch
from layershap.runs.recorded import CALIBRATION, REPAIRED
from layershap.runs.repair import refuse_quantised
from layershap.runs.workspace import Workspace
from layershap.stages.search_state import SearchState
from sampling import keys, without
from sampling.coalitions import distinct
from shapley import State
from shapley.estimators.state import unmeasured
from shapley.search import FoundSets, SetSearch
from surrogate.process.transferred import TransferredLearner

__all__ = ["find_repaired", "search_repaired"]

Measure = Callable[[Bool[np.ndarray, "k n"], str], Float[np.ndarray, "k"]]
Set = tuple[int, ...]

_SOURCE = "repaired"
_OPENING = 0.5  # of the budget; the rest goes where a better set may be
_RUNNERS_UP = 3


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
    config, n = work.config, len(work.players)
    budget = config.repaired_evaluations(n)
    if not budget:
        return None

    def measure(rows: Bool[np.ndarray, "k n"], what: str) -> Float[np.ndarray, "k"]:
        work.measure(REPAIRED, rows, f"repaired sets, {what}")
        return work.campaign(REPAIRED).read(rows).utilities

    try:
        refuse_quantised(work)
        rivals = [without(n, gone) for by in baselines.values() for gone in by.values()]
        admitted = np.array(rivals, dtype=bool).reshape(-1, n)
        found, state = find_repaired(
            searched.search, searched.state, measure, budget, config.search.rounds, admitted
        )
    except (ModelError, RepairError, TextError, UserError, WorkerRefused) as error:
        work.console.warn(f"sets are chosen as they are, not by what repair leaves: {error}")
        return None
    best = {count: [one.removed for one in sets] for count, sets in found.sets.items()}
    leaders = [without(n, sets[0]) for sets in best.values() if sets]
    work.measure(CALIBRATION, np.array(leaders), "the best repaired sets as they are")
    kept = {count: _kept(work, searched, state, sets) for count, sets in best.items()}
    _say(work, searched, kept, state.spent)
    return RepairedSearch(work.fingerprint(REPAIRED), state.spent, found.converged, kept)


def find_repaired(
    plain: SetSearch,
    known: State,
    measure: Measure,
    budget: int,
    rounds: int,
    admitted: Bool[np.ndarray, "a n"],
) -> tuple[FoundSets, State]:
    """Search for the sets of the largest repaired utility.

    Args:
        plain: the search among sets without repair; its counts and limits are kept to.
        known: what that has measured.
        measure: gives repaired utilities, of which those that are not finite count as the worst;
            told what the rows are for.
        budget: most sets to measure, the admitted ones and the whole model apart.
        rounds: most rounds after the opening.
        admitted: further sets that are measured and compared.

    Returns:
        what was found and what was measured.

    Raises:
        RepairError: no utility is finite.
    """
    search = SetSearch(
        TransferredLearner(plain.evaluate(known).belief),
        plain.counts,
        plain.limits,
        most_a_round=plain.most_a_round,
        nested=plain.nested,
        name=_SOURCE,
    )
    state = State(known.players, known.coalitions[:0], np.empty(0), known.seed)
    whole = np.ones((1, known.n), dtype=bool)
    state = _extended(state, np.concatenate([whole, admitted]), measure, "baselines")
    free = state.spent
    opening = _opening(plain, known, max(len(plain.counts), round(_OPENING * budget)))
    state = _extended(state, opening, measure, "opening")
    for number in range(1, rounds + 1):
        room = budget - (state.spent - free)
        if room < 1:
            break
        rows = search.evaluate(state).most_promising(min(room, search.round_size(state.spent)))
        if not len(rows):
            break
        state = _extended(state, rows, measure, f"round {number}")
    return search.result(state), state


def _extended(state: State, rows: Bool[np.ndarray, "k n"], measure: Measure, what: str) -> State:
    """The state with those of the rows that are new."""
    rows = unmeasured(state, distinct(rows), len(rows))
    if not len(rows):
        return state
    utilities = measure(rows, what)
    every = np.concatenate([state.utilities, utilities])
    if not np.isfinite(every).any():
        raise RepairError("no set could be repaired")
    worst = every[np.isfinite(every)].min()
    return replace(state).extended(rows, np.where(np.isfinite(utilities), utilities, worst))


def _opening(plain: SetSearch, known: State, most: int) -> Bool[np.ndarray, "k n"]:
    """For each count the best measured sets without repair and the runs that are believed best."""
    acquisition = plain.evaluate(known)
    by_rank: list[list[np.ndarray]] = [[] for _ in range(2 * _RUNNERS_UP)]
    for count in plain.counts:
        runs = plain.limits.runs(count)
        order = np.argsort(-acquisition.belief.mean(runs), kind="stable")
        for rank, one in enumerate(acquisition.best(count)[:_RUNNERS_UP]):
            by_rank[2 * rank].append(without(known.n, one.removed))
        for rank, place in enumerate(order[:_RUNNERS_UP]):
            by_rank[2 * rank + 1].append(runs[place])
    rows = np.array([row for rank in by_rank for row in rank], dtype=bool).reshape(-1, known.n)
    return distinct(rows)[:most]


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
    work.console.say(f"{spent} repaired sets compared: {told}")
