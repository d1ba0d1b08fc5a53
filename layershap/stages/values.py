"""Stage 3: what each layer is worth, with the uncertainty of the sample and of the text."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from layershap.results.value_text import SHARE_UNIT, error_text, explanation, value_text
from layershap.results.values import VALUES, Values
from layershap.runs.design import read_design
from layershap.runs.recorded import CALIBRATION, RecordedRun
from layershap.stages.choosing import estimator, has_ends
from layershap.stages.confidence import confidence, rankings, text_uncertainty
from layershap.stages.fit import Fitted, load_fitted
from layershap.stages.history import budget_to_halve, error_history
from layershap.stages.value_scale import ScaledGame, ScaledRecords, on_scale, scale_of
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
from surrogate.process.adaptive import LearnedValues
from surrogate.process.interactions import learned_interactions

__all__ = ["measured_values", "values"]

_MOST_EXACT_INTERACTIONS = 14


def values(
    run: RecordedRun,
    fitted: Fitted | None = None,
    rows: Bool[np.ndarray, "m n"] | None = None,
) -> Values:
    """Compute and write `values.json`: Shapley and size-restricted values, interactions.

    All of them are of the game that the configuration's `values` ask for: the retention of what
    was measured (a share, where the utility is no loss), or the raw loss.

    Args:
        run: measured and fitted.
        fitted: the surrogate; the saved one when omitted.
        rows: measured coalitions that the Shapley values rest on; the design when omitted.

    Raises:
        UserError: the configuration asks for what cannot be told of this run.
    """
    plan, seed = run.plan, run.config.measure.seed
    at_most = run.config.at_most(plan.n)
    r = at_most or max(plan.counts)
    measured = measured_values(run, rows)
    fitted = fitted or load_fitted(run)
    exact = len(measured.coalitions) == 1 << plan.n
    if exact:
        table = TableGame(_table(measured), run.players)
        restricted = exact_restricted(table, r)
        operator = regression_operator(measured.coalitions, plan.n)
        explained = Explained(exact_values(table), operator)
    else:
        with run.console.status(f"values within sets of up to {r} removed"):
            restricted = _of_surrogate(restricted_values(_game(fitted, measured), r, seed=seed))
        explained = _explained(run, measured, fitted)
    shapley = explained.values
    shown = shapley if at_most is None else restricted
    with run.console.status("how sure the values are"):
        text = text_uncertainty(measured, explained.operator, seed)
        history = []
        if explained.state and at_most is None:
            history = list(error_history(explained.state, shapley))
    interactions, errors = _interactions(exact, measured, fitted, run, explained)
    scale = measured.scale
    found = Values(
        fingerprint=run.campaign(CALIBRATION).fingerprint,
        unit=run.utility.unit if scale.value_of == "loss" else SHARE_UNIT,
        utility=run.utility.metric,
        shapley=shapley,
        shapley_text_standard_errors=None if text is None else tuple(text.standard_errors.tolist()),
        ranking=tuple(rankings(shown, plan.counts, None if at_most else text, seed)),
        error_history=tuple(history),
        budget_to_halve_errors=budget_to_halve(plan, history),
        restricted=restricted,
        restricted_to=r,
        interactions=_rows(interactions),
        interaction_standard_errors=None if errors is None else _rows(errors),
        value_of=scale.value_of,
        whole_utility=scale.whole if np.isfinite(scale.whole) else None,
        better_sets=measured.better,
        at_most=at_most,
    )
    VALUES.write(run.directory.path, found)
    _say(run, found)
    return found


def measured_values(run: RecordedRun, rows: Bool[np.ndarray, "m n"] | None = None) -> ScaledRecords:
    """What was measured on the calibration text, on the scale of the run's values.

    Args:
        run: measured.
        rows: measured coalitions; the design when omitted.

    Raises:
        UserError: the whole model has nothing that the scale could refer to.
    """
    records = run.campaign(CALIBRATION).read(read_design(run) if rows is None else rows)
    return on_scale(records, scale_of(records, run.utility, run.config.values.value_of))


def _say(run: RecordedRun, found: Values) -> None:
    """Tell the least valuable players, how sure that is, and what surer values would take."""
    shown = found.headline
    noun = run.config.noun
    least = [
        f"{run.players[i]} ({value_text(float(shown.values[i]), found.value_of)})"
        for i in shown.ranking()[:3]
    ]
    within = "" if found.at_most is None else f" with at most {found.at_most} removed"
    run.console.say(f"least valuable {noun}s{within}: {', '.join(least)}")
    for line in (*confidence(found.ranking), *explanation(found, noun)):
        run.console.say(f"  {line}")
    if shown.status is Status.ROUGH:
        run.console.warn(shown.status.value)
    if found.error_history:
        largest = error_text(found.error_history[-1].largest, found.value_of, found.unit)
        budget = found.budget_to_halve_errors
        more = "" if budget is None else f"; about --budget {budget} would halve it"
        run.console.say(f"largest standard error {largest} from {shown.spent} sets{more}")


@dataclass(frozen=True, eq=False)
class Explained:
    """Shapley values and how they follow from the measurements.

    Attributes:
        values: the values.
        operator: takes the measurements' places on the scale to the values, if they are linear.
        state: the measurements, where the values rest on a part of all coalitions.
        learned: the process behind the values, where there is one.
    """

    values: PlayerValues
    operator: Float[np.ndarray, "n m"] | None = None
    state: State | None = None
    learned: LearnedValues | None = None


def _explained(run: RecordedRun, measured: ScaledRecords, fitted: Fitted) -> Explained:
    seed = run.config.measure.seed
    state = measured.state(seed)
    if not has_ends(state):
        run.console.warn(
            f"The model without any {run.config.noun} has no "
            f"{'finite loss' if measured.scale.value_of == 'loss' else 'measurement'}: the values "
            "are the surrogate's own."
        )
        game = SurrogateGame(fitted.regressor, run.players)
        return Explained(surrogate_values(ScaledGame(game, measured.scale), state.n, seed=seed))
    method = estimator()
    with run.console.status(f"values from {state.spent} sets"):
        learned = method.learn(state)
        found = method.report(state, learned)
    return Explained(found, learned.operator, state, learned)


def _game(fitted: Fitted, measured: ScaledRecords) -> ScaledGame:
    """The surrogate on the scale; what it was fitted to, and what keeps nothing, is known."""
    lost = ~np.isfinite(measured.utilities)
    rows = np.concatenate([fitted.coalitions, measured.coalitions[lost]])
    known = rows, np.concatenate([fitted.utilities, measured.utilities[lost]])
    game = SurrogateGame(fitted.regressor, measured.players, measured=known)
    return ScaledGame(game, measured.scale)


def _of_surrogate(restricted: PlayerValues) -> PlayerValues:
    """Size-restricted values of the surrogate: what it errs by is not known, however it was asked.

    Asked for all sets it seems exact, and its values without any error.
    """
    unknown = np.full(len(restricted.players), np.nan)
    return replace(
        restricted,
        status=Status.SURROGATE,
        standard_errors=unknown,
        lower=unknown,
        upper=unknown,
        covariance=None,
    )


def _rows(matrix: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, matrix))


def _table(measured: ScaledRecords) -> Float[np.ndarray, "M"]:
    index = measured.coalitions @ (1 << np.arange(len(measured.players), dtype=np.int64))
    table = np.empty(len(index))
    table[index] = measured.values
    return table


def _interactions(
    exact: bool, measured: ScaledRecords, fitted: Fitted, run: RecordedRun, explained: Explained
) -> tuple[list[list[float]], list[list[float]] | None]:
    """Pairwise Shapley interactions and their standard errors (None where they are exact).

    Errors are those of the process that the values come from; the surrogate's own interactions,
    which stand in where there is none, have none that could be told.

    Of the raw loss, the model without any layer gets the surrogate's value. It is often tens of
    nats from all else, and its true value would put the same large number into every pair.
    """
    n, raw = len(run.players), measured.scale.value_of == "loss"
    if exact and n <= _MOST_EXACT_INTERACTIONS:
        table = _table(measured)
        if raw:
            table[0] = fitted.regressor.predict(np.zeros((1, n), dtype=bool))[0]
        return exact_interactions(table).tolist(), None
    learned = explained.learned
    if learned is not None and np.trace(learned.posterior.covariance) > 0:
        stretch = explained.values.diagnostics.get("stretch", 1.0)
        with run.console.status("interactions of all pairs"):
            found = learned_interactions(learned, run.players, stretch)
        return found.values.tolist(), found.standard_errors.tolist()
    known = fitted.coalitions[fitted.used], fitted.utilities[fitted.used]
    game = SurrogateGame(fitted.regressor, run.players, measured=known)
    game = game if raw else _game(fitted, measured)
    with run.console.status("interactions of all pairs"):
        estimate = estimate_interactions(game, seed=run.config.measure.seed, calls=_calls(n))
    return estimate.values.tolist(), np.full((n, n), np.nan).tolist()


def _calls(n: int) -> int:
    """Enough second differences for small games, bounded time for deep ones."""
    return min(2_000_000, max(200_000, 20_000 * n))
