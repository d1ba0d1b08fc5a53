"""Stage 4: search on the surrogate, measure the best candidates, refit, repeat.

The baselines' sets are admitted as candidates, so that no recommendation loses to them on the
calibration text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Bool

from cluster import Records
from layershap.stages.baselines import baseline_sets
from layershap.stages.design import read_design
from layershap.stages.fit import Fitted, fit, fit_quietly, load_fitted
from layershap.stages.plan import Plan, make_plan
from layershap.workspace import CALIBRATION, Workspace
from sampling import keys, without
from shapley import propose

__all__ = ["search"]

Set = tuple[int, ...]


def search(work: Workspace, fitted: Fitted | None = None) -> dict[str, Any]:
    """Settle on the best measured set for each count and write `candidates.json`."""
    plan = make_plan(work.config, len(work.players))
    first = fitted or load_fitted(work)
    design = read_design(work)
    proposed = _rounds(work, plan, design, first)
    with_baselines = baseline_sets(work, plan.counts)
    records = work.campaign(CALIBRATION).read()
    best = {count: _best(records, count, proposed, with_baselines) for count in plan.counts}
    campaign = work.campaign(CALIBRATION)
    spent = len(design) + len(proposed)
    extra = campaign.counts().total - spent
    content = {
        "fingerprint": campaign.fingerprint,
        "budget": plan.budget,
        "spent": spent,
        "spent_on_baselines": max(extra, 0),
        "exact": plan.exact,
        "sets": {str(count): sets for count, sets in best.items()},
        "baselines": {
            name: {str(count): list(removed) for count, removed in sets.items()}
            for name, sets in with_baselines.items()
        },
    }
    work.directory.write_json(work.directory.candidates, content)
    fit(work, everything=True)
    for count, sets in best.items():
        work.console.say(
            f"remove {count}: {work.named(sets[0]['removed'])} costs "
            f"{sets[0]['cost']:+.4f} {work.utility.unit} ({sets[0]['source']})"
        )
    return content


def _rounds(
    work: Workspace, plan: Plan, design: Bool[np.ndarray, "m n"], fitted: Fitted
) -> dict[Set, tuple[str, float]]:
    """Search, measure and refit until the best sets are stable or the budget is spent.

    Returns the source and the predicted utility of every set that was measured for the search.
    """
    proposed: dict[Set, tuple[str, float]] = {}
    designed = set(keys(design))
    leaders: dict[int, Set] = {}
    for number in range(1, work.config.rounds + 1):
        game = fitted.game(work.players)
        found = propose(
            game, plan.counts, work.config.seed, per_count=2 * work.config.candidates + 4
        )
        new: list[Set] = []
        room = plan.for_search - len(proposed)
        for rank in range(max(map(len, found.values()))):
            for candidates in found.values():
                if rank >= len(candidates) or len(new) >= room:
                    continue
                candidate = candidates[rank]
                known = candidate.removed in proposed or _key(plan.n, candidate.removed) in designed
                taken = sum(len(s) == len(candidate.removed) for s in new)
                if not known and taken < work.config.candidates:
                    proposed[candidate.removed] = (candidate.source, candidate.utility)
                    new.append(candidate.removed)
        if not new:
            break
        rows = np.array([without(plan.n, removed) for removed in new])
        work.measure(CALIBRATION, rows, f"search round {number}")
        before, leaders = leaders, _leaders(work, plan, _tried(design, proposed))
        work.console.say(f"search round {number}: {len(new)} candidates measured")
        if leaders == before:
            break
        fitted = fit_quietly(work, _tried(design, proposed))
    return proposed


def _leaders(work: Workspace, plan: Plan, tried: Bool[np.ndarray, "m n"]) -> dict[int, Set]:
    records = work.campaign(CALIBRATION).read(tried)
    removed = (~records.coalitions).sum(axis=1)
    leaders = {}
    for count in plan.counts:
        rows = np.flatnonzero(records.ok & (removed == count))
        if len(rows):
            best = rows[records.utilities[rows].argmax()]
            leaders[count] = _set(records.coalitions[best])
    return leaders


def _best(
    records: Records,
    count: int,
    proposed: dict[Set, tuple[str, float]],
    baselines: dict[str, dict[int, Set]],
    most: int = 5,
) -> list[dict[str, Any]]:
    """The best measured sets of one size, whoever found them."""
    dense = float(records.utilities[records.coalitions.all(axis=1)][0])
    rows = np.flatnonzero(records.ok & ((~records.coalitions).sum(axis=1) == count))
    rows = rows[np.argsort(-records.utilities[rows], kind="stable")][:most]
    sets = []
    for row in rows:
        removed = _set(records.coalitions[row])
        source, predicted = proposed.get(removed, ("design", None))
        if removed not in proposed:
            names = [name for name, by_count in baselines.items() if by_count[count] == removed]
            source = names[0] if names else source
        utility = float(records.utilities[row])
        sets.append(
            {
                "removed": list(removed),
                "utility": utility,
                "cost": dense - utility,
                "predicted": predicted,
                "source": source,
            }
        )
    return sets


def _tried(design: Bool[np.ndarray, "m n"], proposed: Iterable[Set]) -> Bool[np.ndarray, "k n"]:
    """What the search has measured so far, the design included."""
    rows = [without(design.shape[1], removed) for removed in proposed]
    return np.concatenate([design, rows]) if rows else design


def _key(n: int, removed: Set) -> bytes:
    return keys(without(n, removed)[None])[0]


def _set(row: np.ndarray) -> Set:
    return tuple(np.flatnonzero(~row).tolist())
