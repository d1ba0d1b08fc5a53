"""How the errors of the values fell as coalitions were measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from layershap.results.values import ErrorPoint
from layershap.runs.plan import Plan
from shapley import State, Values, advise
from surrogate.process.adaptive import fit_values

__all__ = ["budget_to_halve", "error_history"]

POINTS = 6


def error_history(state: State, values: Values) -> Iterator[ErrorPoint]:
    """Yields the errors at about six numbers of evaluations, the last with the given values.

    By how much the process misjudges its own errors is told best by all measurements: the factor
    of the given values holds for the earlier ones too.

    Args:
        state: all measurements in their order, the full and the empty coalition first.
        values: from all of them.
    """
    least, stretch = 2 * state.n, values.diagnostics.get("stretch", 1.0)
    counts = np.geomspace(least, state.spent, POINTS).astype(int)[:-1]
    for count in np.unique(counts[counts < 0.95 * state.spent]).tolist():
        early = state.first(count)
        if early.has_ends:
            errors = np.sqrt(np.diag(fit_values(early).covariance))
            yield _point(early.spent, stretch * errors)
    yield _point(values.spent, values.standard_errors)


def budget_to_halve(plan: Plan, history: Sequence[ErrorPoint]) -> int | None:
    """The budget of a run whose largest standard error would be half as large, if it can be told.

    Args:
        plan: of this run.
        history: its errors.
    """
    if not history or history[-1].largest <= 0:
        return None
    errors = [(point.evaluations, point.largest) for point in history]
    needed = advise(errors, history[-1].largest / 2, 1 << plan.n)
    return None if needed is None else plan.budget_for(needed)


def _point(evaluations: int, errors: Float[np.ndarray, "n"]) -> ErrorPoint:
    return ErrorPoint(evaluations, float(errors.max()), float(np.sqrt((errors**2).mean())))
