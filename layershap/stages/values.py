"""Stage 3: what each layer is worth, with the uncertainty of the sample and of the text."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from cluster import Records
from layershap.errors import UserError
from layershap.stages.fit import Fitted, load_fitted
from layershap.stages.plan import Plan, make_plan
from layershap.workspace import CALIBRATION, Workspace
from sampling import keys
from shapley import (
    TableGame,
    Values,
    bootstrap_values,
    corrected_values,
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


def values(work: Workspace, fitted: Fitted | None = None) -> dict[str, Any]:
    """Compute and write `values.json`: Shapley and size-restricted values, interactions."""
    plan = make_plan(work.config, len(work.players))
    records = work.campaign(CALIBRATION).read(plan.design)
    fitted = fitted or load_fitted(work)
    game = fitted.game(work.players)
    r = max(plan.counts)
    if plan.exact and records.ok.all():
        table = TableGame(_table(records), work.players)
        shapley, restricted = exact_values(table), exact_restricted(table, r)
    else:
        shapley = _sampled(records, fitted, work)
        restricted = restricted_values(game, r, seed=work.config.seed)
    interactions, errors = _interactions(plan, records, fitted, work)
    content = {
        "fingerprint": work.campaign(CALIBRATION).fingerprint,
        "unit": work.utility.unit,
        "utility": work.utility.metric,
        "shapley": shapley.to_dict(),
        "shapley_text_standard_errors": _text_errors(records, shapley, work.config.seed),
        "restricted": restricted.to_dict(),
        "restricted_to": r,
        "interactions": interactions,
        "interaction_standard_errors": errors,
    }
    work.directory.write_json(work.directory.values, content)
    least = [f"{work.players[i]} ({shapley.values[i]:+.3f})" for i in shapley.ranking()[:3]]
    work.console.say(f"least valuable {work.config.noun}s: {', '.join(least)}")
    return content


def _table(records: Records) -> Float[np.ndarray, "M"]:
    index = records.coalitions @ (1 << np.arange(len(records.players), dtype=np.int64))
    table = np.empty(len(records))
    table[index] = records.utilities
    return table


def _sampled(records: Records, fitted: Fitted, work: Workspace) -> Values:
    """Surrogate values corrected on the design's coalitions, which are uniform in each size."""
    n = len(work.players)
    # The surrogate without its memory of measurements: the correction needs its own predictions.
    game = SurrogateGame(fitted.regressor, work.players)
    own = surrogate_values(game, n, seed=work.config.seed)
    kept = records.coalitions[records.ok]
    sizes = set(kept.sum(axis=1).tolist())
    if not {0, n} <= sizes:
        work.console.warn(
            "The model without any layer has no finite loss: the values are the surrogate's own."
        )
        return own
    fitted_keys = keys(fitted.coalitions[fitted.used])
    held_out = dict(zip(fitted_keys, fitted.regressor.out_of_fold_, strict=True))
    out_of_fold = np.array([held_out.get(key, np.nan) for key in keys(kept)])
    if np.isnan(out_of_fold[kept.any(axis=1)]).any():
        raise UserError(
            f"{work.directory.surrogate}: fitted before some coalitions were measured; "
            f"run layershap fit {work.directory.path} again"
        )
    return corrected_values(
        kept,
        records.utilities[records.ok],
        fitted.regressor.predict(kept),
        own,
        out_of_fold,
        budget=work.config.budget,
        seed=work.config.seed,
    )


def _interactions(
    plan: Plan, records: Records, fitted: Fitted, work: Workspace
) -> tuple[list[list[float]], list[list[float]] | None]:
    """Pairwise Shapley interactions and their standard errors (None where they are exact).

    The model without any layer gets the surrogate's value. It is often tens of nats from all
    else, and its true value would put the same large number into every pair.
    """
    if plan.exact and records.ok.all() and plan.n <= _MOST_EXACT_INTERACTIONS:
        table = _table(records)
        table[0] = fitted.regressor.predict(np.zeros((1, plan.n), dtype=bool))[0]
        return exact_interactions(table).tolist(), None
    known = fitted.coalitions[fitted.used], fitted.utilities[fitted.used]
    game = SurrogateGame(fitted.regressor, work.players, measured=known)
    estimate = estimate_interactions(game, seed=work.config.seed, calls=_calls(plan.n))
    return estimate.values.tolist(), estimate.standard_errors.tolist()


def _text_errors(records: Records, shapley: Values, seed: int) -> list[float] | None:
    """Standard errors over the choice of sequences or items, None with a single one."""
    kept = records.ok
    sizes = set(records.coalitions[kept].sum(axis=1).tolist())
    n = len(records.players)
    if len(records.weights) < 2 or not {0, n} <= sizes:
        return None
    weight = shapley.diagnostics.get("unpaired_weight", 1.0)
    operator = regression_operator(records.coalitions[kept], n, weight)
    weights = records.weights.astype(float)
    found = bootstrap_values(operator, records.vectors[kept], weights, seed)
    return found.standard_errors.tolist()


def _calls(n: int) -> int:
    """Enough second differences for small games, bounded time for deep ones."""
    return min(2_000_000, max(200_000, 20_000 * n))
