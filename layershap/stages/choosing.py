"""Which coalitions to measure next: those that tell most about the values."""

from __future__ import annotations

from collections.abc import Sequence

from cluster import Records
from layershap.errors import UserError
from layershap.runs.design import OPENING, Round, joined, new_rows
from layershap.runs.plan import Plan
from layershap.runs.recorded import CALIBRATION, RecordedRun
from layershap.stages.value_scale import Scale, ScaledRecords, on_scale, scale_of
from shapley import State
from surrogate.process.adaptive import AdaptiveValues

__all__ = ["estimator", "has_ends", "next_round"]


def estimator() -> AdaptiveValues:
    """The estimator of a run.

    It counts coalitions alike. Counting the layers that each adds to its round makes rounds
    cheaper, but the values no better for the same layer evaluations
    (reports/2026-11-22_estimators_cpu.md).
    """
    return AdaptiveValues()


def has_ends(state: State) -> bool:
    """Whether the utilities of all and of none are known, and enough others for values."""
    return state.has_ends and state.spent >= min(state.n + 2, 1 << state.n)


def next_round(run: RecordedRun, plan: Plan, rounds: Sequence[Round], size: int) -> Round | None:
    """What to measure after the rounds that are measured; None when the design is complete.

    What the opening still lacks comes first, also after the budget was raised. Where no process
    can be fitted, the fixed design is filled up.

    Args:
        run: measured so far.
        plan: its plan.
        rounds: chosen so far, all measured.
        size: coalitions of the whole design.
    """
    known = joined(rounds, plan.n)
    room = size - len(known)
    if room <= 0:
        return None
    opening = new_rows(plan.opening, known)[:room]
    if len(opening):
        return Round(OPENING, opening)
    records = run.campaign(CALIBRATION).read(known)
    state = _scaled(run, records).state(run.config.measure.seed)
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


def _scaled(run: RecordedRun, records: Records) -> ScaledRecords:
    """The measurements as the values of the run take them."""
    try:
        scale = scale_of(records, run.utility, run.config.values.value_of)
    except UserError:  # of the whole model's utility, which is told once all is measured
        scale = Scale("loss", float("nan"))
    return on_scale(records, scale)
