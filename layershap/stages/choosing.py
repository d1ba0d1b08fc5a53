"""Which coalitions to measure next: those that tell most about the values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster import Records
from layershap.runs.design import OPENING, Round, joined, new_rows
from layershap.runs.plan import Plan
from layershap.runs.recorded import CALIBRATION, RecordedRun
from shapley import State, start
from shapley.retention import retention, share_of_whole
from surrogate.process.adaptive import AdaptiveValues

__all__ = ["estimator", "has_ends", "measured_state", "next_round"]


def estimator() -> AdaptiveValues:
    """The estimator of a run.

    It counts coalitions alike. Counting the layers that each adds to its round makes rounds
    cheaper, but the values no better for the same layer evaluations
    (reports/2026-11-22_estimators_cpu.md).
    """
    return AdaptiveValues()


def measured_state(records: Records, seed: int, value_of: str = "loss") -> State:
    """What is known after measuring, in the order of the records.

    Args:
        records: of the calibration text.
        seed: of the run.
        value_of: "retention" or "share" of the whole model, where a loss that is not finite keeps
            nothing; or "loss", the utilities as they are, the finite ones. Without a utility of the
            whole model as well.
    """
    known, utilities = records.ok, records.utilities
    whole = utilities[known & records.coalitions.all(axis=1)]
    if value_of != "loss" and len(whole):
        scaled = retention if value_of == "retention" else share_of_whole
        lost = ~known & (np.array(records.status) == "non-finite")
        utilities = np.where(lost, 0.0, scaled(utilities, float(whole[0])))
        known = known | lost
    return start(records.players, seed).extended(records.coalitions[known], utilities[known])


def _scale(run: RecordedRun, value_of: str) -> str:
    """What retention means for the run's utility: of one that is bounded, a share of the whole."""
    bounded = not run.utility.unit.startswith("nats")
    return "share" if value_of == "retention" and bounded else value_of


def has_ends(state: State) -> bool:
    """Whether the utilities of all and of none are known, and enough others for values."""
    return state.has_ends and state.spent >= min(state.n + 2, 1 << state.n)


def next_round(
    run: RecordedRun,
    plan: Plan,
    rounds: Sequence[Round],
    size: int,
    value_of: str = "retention",
) -> Round | None:
    """What to measure after the rounds that are measured; None when the design is complete.

    What the opening still lacks comes first, also after the budget was raised. Where no process
    can be fitted, the fixed design is filled up.

    Args:
        run: measured so far.
        plan: its plan.
        rounds: chosen so far, all measured.
        size: coalitions of the whole design.
        value_of: what the values are of, "retention" or "loss".
    """
    known = joined(rounds, plan.n)
    room = size - len(known)
    if room <= 0:
        return None
    opening = new_rows(plan.opening, known)[:room]
    if len(opening):
        return Round(OPENING, opening)
    records = run.campaign(CALIBRATION).read(known)
    state = measured_state(records, run.config.measure.seed, _scale(run, value_of))
    if has_ends(state):
        # What has no finite utility is no part of the state, and would be proposed again.
        lost = len(known) - state.spent
        with run.console.status("choosing what to measure next"):
            proposed = estimator().propose(state, room + lost)
        chosen = new_rows(proposed, known)[:room]
        if len(chosen):
            return Round("chosen", chosen)
    rest = new_rows(plan.design, known)[:room]
    return Round("fixed", rest) if len(rest) else None
