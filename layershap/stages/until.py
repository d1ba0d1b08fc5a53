"""Measuring on until the values are as sure as asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from layershap.errors import UserError
from layershap.runs.plan import make_plan
from layershap.runs.workspace import CALIBRATION, Workspace
from layershap.stages.choosing import estimator, has_ends, measured_state
from layershap.stages.design import Round, joined, read_design, read_rounds
from layershap.stages.history import error_history
from layershap.stages.measure import measure_rounds
from layershap.stages.values import values
from shapley import State, Values, advise

__all__ = ["Reached", "values_until"]

GROWTH = 1.25


@dataclass(frozen=True, eq=False)
class Reached:
    """Values that were measured for a standard error.

    Attributes:
        content: of `values.json`.
        reached: whether the largest standard error is at most the one asked for.
        evaluations: coalitions that the values rest on.
        advised: about how many would reach it; None where it is reached, or cannot be told.
    """

    content: dict[str, Any]
    reached: bool
    evaluations: int
    advised: int | None = None


def values_until(work: Workspace, target: float, budget: int | None = None) -> Reached:
    """Measure further rounds until the largest standard error is small enough; write `values.json`.

    What is measured beyond the design is in `design.json` and the ledger, and serves the next call;
    the other stages keep to the design of the run's own budget.

    Args:
        work: the run, measured and fitted.
        target: largest standard error wanted, in units of the utility.
        budget: coalitions that the values may rest on; those of the design when omitted.

    Raises:
        UserError: the target is not positive, measuring or fitting was not finished, the design is
            fixed, or there is no finite utility without any player.
    """
    if not (math.isfinite(target) and target > 0):
        raise UserError(f"--target-se {target:g}: must be a positive number of {work.utility.unit}")
    plan = make_plan(work.config, len(work.players))
    rows = read_design(work)
    if plan.exact:
        return Reached(values(work), True, len(rows))
    if work.config.measure.design == "fixed":
        raise UserError(
            f"--target-se: the design of {work.directory.path} is fixed; measure it with --design "
            "adaptive"
        )
    rounds = read_rounds(work, plan) or [Round("fixed", rows)]
    limit = max(plan.size, min(budget or plan.size, 1 << plan.n))
    size = plan.size
    while True:
        state, found = _values(work, rows)
        largest = float(found.standard_errors.max())
        if largest <= target or size >= limit:
            break
        size = min(limit, max(size + plan.n, math.ceil(GROWTH * size)))
        work.console.say(
            f"largest standard error {largest:.4f} from {len(rows)} sets; going on to {size}"
        )
        measure_rounds(work, plan, rounds, size)
        before, rows = len(rows), joined(rounds, plan.n)[:size]
        if len(rows) == before:
            break
    content = values(work, rows=rows)
    if largest <= target:
        return Reached(content, True, len(rows))
    history = [(point.evaluations, point.largest) for point in error_history(state, found)]
    return Reached(content, False, len(rows), advise(history, target, 1 << plan.n))


def _values(work: Workspace, rows: Bool[np.ndarray, "m n"]) -> tuple[State, Values]:
    state = measured_state(work.campaign(CALIBRATION).read(rows), work.config.measure.seed)
    if not has_ends(state):
        raise UserError(
            f"--target-se: the model without any {work.config.noun} has no finite loss, so that "
            "the values are the surrogate's own; leave the target out"
        )
    return state, estimator().result(state)
