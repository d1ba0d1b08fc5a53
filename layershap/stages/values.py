"""Stage 3: what each layer is worth, with the uncertainty of the sample and of the text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from cluster import Records
from layershap.results.values import VALUES, Values
from layershap.runs.design import read_design
from layershap.runs.recorded import CALIBRATION, RecordedRun
from layershap.stages.choosing import estimator, has_ends, measured_state
from layershap.stages.confidence import confidence, rankings, text_uncertainty
from layershap.stages.fit import Fitted, load_fitted
from layershap.stages.history import budget_to_halve, error_history
from shapley import (
    State,
    Status,
    TableGame,
    estimate_interactions,
    exact_interactions,
    exact_restricted,
    exact_values,
    regression_operator,
    restricted_values,
    surrogate_values,
)
from shapley import Values as PlayerValues
from surrogate import SurrogateGame

__all__ = ["values"]

_MOST_EXACT_INTERACTIONS = 14


def values(
    run: RecordedRun,
    fitted: Fitted | None = None,
    rows: Bool[np.ndarray, "m n"] | None = None,
) -> Values:
    """Compute and write `values.json`: Shapley and size-restricted values, interactions.

    Args:
        run: measured and fitted.
        fitted: the surrogate; the saved one when omitted.
        rows: measured coalitions that the Shapley values rest on; the design when omitted.
    """
    plan = run.plan
    records = run.campaign(CALIBRATION).read(read_design(run) if rows is None else rows)
    fitted = fitted or load_fitted(run)
    game = fitted.game(run.players)
    r = max(plan.counts)
    exact = len(records) == 1 << plan.n and bool(records.ok.all())
    if exact:
        table = TableGame(_table(records), run.players)
        restricted = exact_restricted(table, r)
        explained = Explained(exact_values(table), regression_operator(records.coalitions, plan.n))
    else:
        with run.console.status(f"values within sets of up to {r} removed"):
            restricted = restricted_values(game, r, seed=run.config.measure.seed)
        explained = _explained(run, records, fitted)
    shapley = explained.values
    with run.console.status("how sure the values are"):
        text = text_uncertainty(records, explained.operator, run.config.measure.seed)
        history = list(error_history(explained.state, shapley)) if explained.state else []
    interactions, errors = _interactions(exact, records, fitted, run)
    found = Values(
        fingerprint=run.campaign(CALIBRATION).fingerprint,
        unit=run.utility.unit,
        utility=run.utility.metric,
        shapley=shapley,
        shapley_text_standard_errors=None if text is None else tuple(text.standard_errors.tolist()),
        ranking=tuple(rankings(shapley, plan.counts, text, run.config.measure.seed)),
        error_history=tuple(history),
        budget_to_halve_errors=budget_to_halve(plan, history),
        restricted=restricted,
        restricted_to=r,
        interactions=_rows(interactions),
        interaction_standard_errors=None if errors is None else _rows(errors),
    )
    VALUES.write(run.directory.path, found)
    _say(run, found)
    return found


def _say(run: RecordedRun, found: Values) -> None:
    """Tell the least valuable players, how sure that is, and what surer values would take."""
    shapley = found.shapley
    least = [f"{run.players[i]} ({shapley.values[i]:+.3f})" for i in shapley.ranking()[:3]]
    run.console.say(f"least valuable {run.config.noun}s: {', '.join(least)}")
    for line in confidence(found.ranking):
        run.console.say(f"  {line}")
    if shapley.status is Status.ROUGH:
        run.console.warn(shapley.status.value)
    if found.error_history:
        largest = found.error_history[-1].largest
        budget = found.budget_to_halve_errors
        more = "" if budget is None else f"; about --budget {budget} would halve it"
        run.console.say(
            f"largest standard error {largest:.4f} {run.utility.unit} from {shapley.spent} "
            f"sets{more}"
        )


@dataclass(frozen=True, eq=False)
class Explained:
    """Shapley values and how they follow from the measurements.

    Attributes:
        values: the values.
        operator: takes the finite utilities of the measurements to the values, if they are linear.
        state: the measurements, where the values rest on a part of all coalitions.
    """

    values: PlayerValues
    operator: Float[np.ndarray, "n m"] | None = None
    state: State | None = None


def _explained(run: RecordedRun, records: Records, fitted: Fitted) -> Explained:
    state = measured_state(records, run.config.measure.seed)
    if not has_ends(state):
        run.console.warn(
            f"The model without any {run.config.noun} has no finite loss: the values are the "
            "surrogate's own."
        )
        game = SurrogateGame(fitted.regressor, run.players)
        return Explained(surrogate_values(game, state.n, seed=run.config.measure.seed))
    method = estimator()
    with run.console.status(f"values from {state.spent} sets"):
        learned = method.learn(state)
        found = method.report(state, learned)
    return Explained(found, learned.operator, state)


def _rows(matrix: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, matrix))


def _table(records: Records) -> Float[np.ndarray, "M"]:
    index = records.coalitions @ (1 << np.arange(len(records.players), dtype=np.int64))
    table = np.empty(len(records))
    table[index] = records.utilities
    return table


def _interactions(
    exact: bool, records: Records, fitted: Fitted, run: RecordedRun
) -> tuple[list[list[float]], list[list[float]] | None]:
    """Pairwise Shapley interactions and their standard errors (None where they are exact).

    The model without any layer gets the surrogate's value. It is often tens of nats from all
    else, and its true value would put the same large number into every pair.
    """
    n = len(run.players)
    if exact and n <= _MOST_EXACT_INTERACTIONS:
        table = _table(records)
        table[0] = fitted.regressor.predict(np.zeros((1, n), dtype=bool))[0]
        return exact_interactions(table).tolist(), None
    known = fitted.coalitions[fitted.used], fitted.utilities[fitted.used]
    game = SurrogateGame(fitted.regressor, run.players, measured=known)
    with run.console.status("interactions of all pairs"):
        estimate = estimate_interactions(game, seed=run.config.measure.seed, calls=_calls(n))
    return estimate.values.tolist(), estimate.standard_errors.tolist()


def _calls(n: int) -> int:
    """Enough second differences for small games, bounded time for deep ones."""
    return min(2_000_000, max(200_000, 20_000 * n))
