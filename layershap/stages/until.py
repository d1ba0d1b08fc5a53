"""Measuring on until the values are as sure as asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from layershap.errors import UserError
from layershap.results.value_text import SHARE_UNIT, error_text
from layershap.results.values import ValueOf, Values
from layershap.runs.design import Round, joined, read_design, read_rounds
from layershap.runs.recorded import RecordedRun
from layershap.runs.workspace import Workspace
from layershap.stages.choosing import estimator, has_ends
from layershap.stages.history import error_history
from layershap.stages.measure import measure_rounds
from layershap.stages.values import measured_values, values
from shapley import State, advise
from shapley import Values as PlayerValues

__all__ = ["Reached", "values_until"]

GROWTH = 1.25


@dataclass(frozen=True, eq=False)
class Reached:
    """Values that were measured for a standard error.

    Attributes:
        values: as `values.json` holds them.
        reached: whether the largest standard error is at most the one asked for.
        evaluations: coalitions that the values rest on.
        advised: about how many would reach it; None where it is reached, or cannot be told.
    """

    values: Values
    reached: bool
    evaluations: int
    advised: int | None = None


def values_until(work: Workspace, target: float, budget: int | None = None) -> Reached:
    """Measure further rounds until the largest standard error is small enough; write `values.json`.

    What is measured beyond the design is in `design.json` and the ledger, and serves the next call;
    the other stages keep to the design of the run's own budget.

    Args:
        work: the run, measured and fitted.
        target: largest standard error wanted: a share of the whole model, as 0.005 for half a
            percentage point, or nats for values of the raw loss.
        budget: coalitions that the values may rest on; those of the design when omitted.

    Raises:
        UserError: the target is not positive, measuring or fitting was not finished, the design is
            fixed, or there is no utility without any player.
    """
    raw = work.config.values.value_of == "loss"
    unit = work.utility.unit if raw else SHARE_UNIT
    if not (math.isfinite(target) and target > 0):
        raise UserError(f"--target-se {target:g}: must be a positive number, in {unit}")
    run = work.recorded
    plan = run.plan
    rows = read_design(run)
    if plan.exact:
        return Reached(values(run), True, len(rows))
    if work.config.measure.design == "fixed":
        raise UserError(
            f"--target-se: the design of {work.directory.path} is fixed; measure it with --design "
            "adaptive"
        )
    rounds = read_rounds(run, plan) or [Round("fixed", rows)]
    limit = max(plan.size, min(budget or plan.size, 1 << plan.n))
    size = plan.size
    while True:
        state, found, found_of = _values(run, rows)
        largest = float(found.standard_errors.max())
        if largest <= target or size >= limit:
            break
        size = min(limit, max(size + plan.n, math.ceil(GROWTH * size)))
        work.console.say(
            f"largest standard error {error_text(largest, found_of, unit)} from {len(rows)} sets; "
            f"going on to {size}"
        )
        measure_rounds(work, plan, rounds, size)
        before, rows = len(rows), joined(rounds, plan.n)[:size]
        if len(rows) == before:
            break
    content = values(run, rows=rows)
    if largest <= target:
        return Reached(content, True, len(rows))
    history = [(point.evaluations, point.largest) for point in error_history(state, found)]
    return Reached(content, False, len(rows), advise(history, target, 1 << plan.n))


def _values(run: RecordedRun, rows: Bool[np.ndarray, "m n"]) -> tuple[State, PlayerValues, ValueOf]:
    measured = measured_values(run, rows)
    state = measured.state(run.config.measure.seed)
    if not has_ends(state):
        raise UserError(
            f"--target-se: the model without any {run.config.noun} has no finite loss, so that "
            "the values are the surrogate's own; leave the target out"
        )
    return state, estimator().result(state), measured.scale.value_of
