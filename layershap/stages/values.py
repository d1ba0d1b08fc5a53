"""Stage 3: what each layer is worth, with the uncertainty of the sample and of the text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from cluster import Records
from layershap.runs.plan import make_plan
from layershap.runs.workspace import CALIBRATION, Workspace
from layershap.stages.choosing import estimator, has_ends, measured_state
from layershap.stages.confidence import confidence, rankings, text_uncertainty
from layershap.stages.design import read_design
from layershap.stages.fit import Fitted, load_fitted
from layershap.stages.history import budget_to_halve, error_history
from shapley import (
    State,
    Status,
    TableGame,
    Values,
    estimate_interactions,
    exact_interactions,
    exact_restricted,
    exact_values,
    regression_operator,
    restricted_values,
    surrogate_values,
)
from surrogate import SurrogateGame

__all__ = ["values"]

_MOST_EXACT_INTERACTIONS = 14


def values(
    work: Workspace,
    fitted: Fitted | None = None,
    rows: Bool[np.ndarray, "m n"] | None = None,
) -> dict[str, Any]:
    """Compute and write `values.json`: Shapley and size-restricted values, interactions.

    Args:
        work: the run.
        fitted: the surrogate; the saved one when omitted.
        rows: measured coalitions that the Shapley values rest on; the design when omitted.
    """
    plan = make_plan(work.config, len(work.players))
    records = work.campaign(CALIBRATION).read(read_design(work) if rows is None else rows)
    fitted = fitted or load_fitted(work)
    game = fitted.game(work.players)
    r = max(plan.counts)
    exact = len(records) == 1 << plan.n and bool(records.ok.all())
    if exact:
        table = TableGame(_table(records), work.players)
        restricted = exact_restricted(table, r)
        explained = Explained(exact_values(table), regression_operator(records.coalitions, plan.n))
    else:
        with work.console.status(f"values within sets of up to {r} removed"):
            restricted = restricted_values(game, r, seed=work.config.measure.seed)
        explained = _explained(work, records, fitted)
    shapley = explained.values
    with work.console.status("how sure the values are"):
        text = text_uncertainty(records, explained.operator, work.config.measure.seed)
        history = list(error_history(explained.state, shapley)) if explained.state else []
    interactions, errors = _interactions(exact, records, fitted, work)
    content = {
        "fingerprint": work.campaign(CALIBRATION).fingerprint,
        "unit": work.utility.unit,
        "utility": work.utility.metric,
        "shapley": shapley.to_dict(),
        "shapley_text_standard_errors": None if text is None else text.standard_errors.tolist(),
        "ranking": rankings(shapley, plan.counts, text, work.config.measure.seed),
        "error_history": [asdict(point) for point in history],
        "budget_to_halve_errors": budget_to_halve(plan, history),
        "restricted": restricted.to_dict(),
        "restricted_to": r,
        "interactions": interactions,
        "interaction_standard_errors": errors,
    }
    work.directory.write_json(work.directory.values, content)
    _say(work, content)
    return content


def _say(work: Workspace, content: dict[str, Any]) -> None:
    """Tell the least valuable players, how sure that is, and what surer values would take."""
    shapley = Values.from_dict(content["shapley"])
    least = [f"{work.players[i]} ({shapley.values[i]:+.3f})" for i in shapley.ranking()[:3]]
    work.console.say(f"least valuable {work.config.noun}s: {', '.join(least)}")
    for line in confidence(content["ranking"]):
        work.console.say(f"  {line}")
    if shapley.status is Status.ROUGH:
        work.console.warn(shapley.status.value)
    if content["error_history"]:
        largest = content["error_history"][-1]["largest"]
        budget = content["budget_to_halve_errors"]
        more = "" if budget is None else f"; about --budget {budget} would halve it"
        work.console.say(
            f"largest standard error {largest:.4f} {work.utility.unit} from {shapley.spent} "
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

    values: Values
    operator: Float[np.ndarray, "n m"] | None = None
    state: State | None = None


def _explained(work: Workspace, records: Records, fitted: Fitted) -> Explained:
    state = measured_state(records, work.config.measure.seed)
    if not has_ends(state):
        work.console.warn(
            f"The model without any {work.config.noun} has no finite loss: the values are the "
            "surrogate's own."
        )
        game = SurrogateGame(fitted.regressor, work.players)
        return Explained(surrogate_values(game, state.n, seed=work.config.measure.seed))
    method = estimator()
    with work.console.status(f"values from {state.spent} sets"):
        learned = method.learn(state)
        found = method.report(state, learned)
    return Explained(found, learned.operator, state)


def _table(records: Records) -> Float[np.ndarray, "M"]:
    index = records.coalitions @ (1 << np.arange(len(records.players), dtype=np.int64))
    table = np.empty(len(records))
    table[index] = records.utilities
    return table


def _interactions(
    exact: bool, records: Records, fitted: Fitted, work: Workspace
) -> tuple[list[list[float]], list[list[float]] | None]:
    """Pairwise Shapley interactions and their standard errors (None where they are exact).

    The model without any layer gets the surrogate's value. It is often tens of nats from all
    else, and its true value would put the same large number into every pair.
    """
    n = len(work.players)
    if exact and n <= _MOST_EXACT_INTERACTIONS:
        table = _table(records)
        table[0] = fitted.regressor.predict(np.zeros((1, n), dtype=bool))[0]
        return exact_interactions(table).tolist(), None
    known = fitted.coalitions[fitted.used], fitted.utilities[fitted.used]
    game = SurrogateGame(fitted.regressor, work.players, measured=known)
    with work.console.status("interactions of all pairs"):
        estimate = estimate_interactions(game, seed=work.config.measure.seed, calls=_calls(n))
    return estimate.values.tolist(), estimate.standard_errors.tolist()


def _calls(n: int) -> int:
    """Enough second differences for small games, bounded time for deep ones."""
    return min(2_000_000, max(200_000, 20_000 * n))
