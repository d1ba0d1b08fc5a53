"""Stage 4: search, measure what promises most, learn, and search again.

The baselines' sets are admitted as candidates, so that no recommendation loses to them on the
calibration text. Without the model a search ends before it would measure, and tells what.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layershap.results.candidates import CANDIDATES, Candidates
from layershap.runs.design import read_design
from layershap.runs.recorded import CALIBRATION, RecordedRun
from layershap.runs.workspace import Workspace
from layershap.stages.baselines import baseline_sets
from layershap.stages.constraints import recorded_limits, search_limits
from layershap.stages.fit import Fitted, fit, load_fitted
from layershap.stages.search_state import SearchState, best_sets, described

__all__ = ["search", "search_recorded"]

Set = tuple[int, ...]


def search(work: Workspace, fitted: Fitted | None = None) -> Candidates:
    """Settle on the best measured set for each count and write `candidates.json`.

    Args:
        work: the run, measured and fitted.
        fitted: the surrogate; the saved one when omitted.

    Raises:
        UserError: no set satisfies the run's limits.
    """
    run = work.recorded
    limits, counts = search_limits(work)
    first = fitted or load_fitted(run)
    searched = SearchState(run, limits, counts, read_design(run))
    _measure_rounds(work, searched, first, run.plan.for_search)
    found = _settled(run, searched, baseline_sets(work, counts))
    fit(run, everything=True)
    _say(run, found)
    return found


def search_recorded(run: RecordedRun, fitted: Fitted | None = None) -> Candidates:
    """Settle on the best sets of what is measured, and tell what to measure next; no model needed.

    Args:
        run: measured and fitted.
        fitted: the surrogate; the saved one when omitted.

    Raises:
        UserError: no set satisfies the run's limits, or one can be told from the model alone.
    """
    limits, counts = recorded_limits(run)
    first = fitted or load_fitted(run)
    campaign = run.campaign(CALIBRATION)
    searched = SearchState(run, limits, counts, campaign.read().coalitions)
    room = run.config.search.candidates * len(counts)
    rows = searched.promising(room)
    rows = np.concatenate([rows, searched.from_surrogate(first, max(room - len(rows), 0))])
    upcoming = tuple(dict.fromkeys(tuple(np.flatnonzero(~row).tolist()) for row in rows))
    before = CANDIDATES.found(run.directory.path)
    same = before is not None and before.fingerprint == campaign.fingerprint
    found = _settled(run, searched, before.baselines if before and same else {}, upcoming)
    _say(run, found)
    if upcoming:
        names = ", ".join(f"[{run.named(removed)}]" for removed in upcoming)
        run.console.say(f"would measure next: {names}")
    return found


def _measure_rounds(work: Workspace, searched: SearchState, fitted: Fitted, budget: int) -> None:
    """Rounds of measuring until the best sets have settled or the budget is spent."""
    spent = searched.state.spent
    for number in range(1, work.config.search.rounds + 1):
        room = budget - (searched.state.spent - spent)
        rows = searched.from_surrogate(fitted, room) if number == 1 else searched.promising(room)
        if not len(rows) and number > 1:
            work.console.say("the best sets have lasted, and a better one is unlikely")
            return
        if not len(rows):
            continue
        work.measure(CALIBRATION, rows, f"search round {number}")
        searched.state = searched.extended(searched.state, rows)
        best = work.incumbent.now()
        work.console.say(
            f"search round {number}: {len(rows)} candidates measured{best and f'; {best}'}"
        )
        if searched.state.spent - spent >= budget:
            return


def _settled(
    run: RecordedRun,
    searched: SearchState,
    baselines: Mapping[str, Mapping[int, Set]],
    upcoming: tuple[Set, ...] = (),
) -> Candidates:
    """Write the best measured sets that the limits allow."""
    campaign, spent = run.campaign(CALIBRATION), searched.state.spent
    found = searched.search.result(searched.state)
    records = campaign.read()
    sets = {c: best_sets(records, c, searched, baselines, found) for c in searched.search.counts}
    candidates = Candidates(
        fingerprint=campaign.fingerprint,
        budget=run.plan.budget,
        spent=spent,
        spent_on_baselines=max(campaign.counts().total - spent, 0),
        exact=run.plan.exact,
        settled=found.converged,
        chance_of_better=found.chances,
        limits=tuple(described(searched.limits, run.config.search.nested)),
        sets=sets,
        baselines=baselines,
        next=upcoming,
    )
    CANDIDATES.write(run.directory.path, candidates)
    return candidates


def _say(run: RecordedRun, found: Candidates) -> None:
    for count, chosen in found.chosen.items():
        run.console.say(
            f"remove {count}: {run.named(chosen.removed)} costs "
            f"{chosen.cost:+.4f} {run.utility.unit} ({chosen.source})"
        )
    for count, sets in found.sets.items():
        if not sets:
            run.console.say(f"remove {count}: no such set is measured")
