"""A run's results as pandas frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from layershap.results.estimate import Estimate
from layershap.results.recommendations import Recommendations, VerifiedModel, VerifiedVariant
from layershap.results.value_text import values_title
from layershap.results.values import Values

__all__ = [
    "baselines_frame",
    "interactions_frame",
    "pairs_frame",
    "recommendations_frame",
    "values_frame",
]


def values_frame(found: Values) -> pd.DataFrame:
    """Return the values with one row a player: shares of the whole model, or nats.

    Columns: `value`, `standard_error`, `lower`, `upper` (95 %) of the Shapley value, or of the
    size-restricted one where the run was asked for that; `restricted` with its ends, the value when
    few are removed; `rank`, 1 for the least valuable.

    `attrs` has `value_of` (``retention``, ``share`` or ``loss``), `unit`, `title`, the
    `whole_utility` that shares refer to, and `restricted_to`.
    """
    shapley, restricted = found.headline, found.restricted
    frame = pd.DataFrame(
        {
            "value": shapley.values,
            "standard_error": shapley.standard_errors,
            "lower": shapley.lower,
            "upper": shapley.upper,
            "restricted": restricted.values,
            "restricted_lower": restricted.lower,
            "restricted_upper": restricted.upper,
        },
        index=pd.Index(shapley.players, name="player"),
    )
    frame["rank"] = frame["value"].rank(method="first").astype(int)
    frame.attrs = {
        "value_of": found.value_of,
        "unit": found.unit,
        "title": values_title(found),
        "whole_utility": found.whole_utility,
        "restricted_to": found.restricted_to,
    }
    return frame


def interactions_frame(found: Values) -> pd.DataFrame:
    """Return the symmetric pairwise interactions, in units of the values."""
    names = pd.Index(found.shapley.players, name="player")
    matrix = np.array(found.interactions, dtype=float)
    frame = pd.DataFrame(matrix, index=names, columns=names.rename("with"))
    frame.attrs = {"value_of": found.value_of, "unit": found.unit}
    return frame


def pairs_frame(found: Values) -> pd.DataFrame:
    """Return every pair once, the strongest interaction first.

    Columns: `first`, `second`, `interaction` and its `standard_error` (0 where it is exact). Below
    zero, removing both costs more than the two costs together.
    """
    players = found.shapley.players
    matrix = np.array(found.interactions, dtype=float)
    errors = found.interaction_standard_errors
    spread = np.zeros_like(matrix) if errors is None else np.array(errors, dtype=float)
    rows, columns = np.triu_indices(len(players), 1)
    frame = pd.DataFrame(
        {
            "first": [players[row] for row in rows],
            "second": [players[column] for column in columns],
            "interaction": matrix[rows, columns],
            "standard_error": spread[rows, columns],
        }
    )
    order = np.argsort(-np.abs(matrix[rows, columns]), kind="stable")  # what is missing comes last
    return frame.iloc[order].reset_index(drop=True)


def recommendations_frame(found: Recommendations) -> pd.DataFrame:
    """Return the recommendations with one row for each number of players removed.

    Columns: `removed` (names), `cost` in held-out nats per token above the whole model with
    `lower` and `upper` (95 %, paired), `perplexity`, `kl`, `top1`, `prefill` and `decoding` (speed
    as a ratio to the whole model; NaN where it was not timed), `repaired` (the cost when the
    weights that stay are fitted) with `repaired_lower`, `repaired_upper` and the method, `repair`
    (NaN and None where that was not done), `parameters_saved` and its `share`, `best_baseline`
    with `baseline_cost`, `source` (who proposed the set) and `export`.
    """
    whole = found.dense.parameters
    rows = []
    for item in found.recommendations:
        best, saved = item.cheapest_baseline, item.parameters_saved or 0
        rows.append(
            {
                **_set(found, item.removed, item),
                **_repaired(item),
                "parameters_saved": saved,
                "share": saved / max(1, whole),
                "best_baseline": None if best is None else best.method,
                "baseline_cost": np.nan if best is None else best.estimate.value,
                "source": item.source,
                "export": item.export,
            }
        )
    counts = pd.Index([item.count for item in found.recommendations], name="count")
    frame = pd.DataFrame(rows, index=counts)
    dense = {name: getattr(found.dense, name) for name in ("nll", "perplexity", "parameters")}
    frame.attrs = {"text": found.text, "tokens": found.tokens, "dense": dense}
    return frame


def baselines_frame(found: Recommendations) -> pd.DataFrame:
    """Return what published methods remove, measured on the same held-out text.

    Columns: `count`, `method`, and the set and quality columns of `recommendations_frame`.
    """
    rows = [
        {"count": item.count, "method": rival.method, **_set(found, rival.removed, rival)}
        for item in found.recommendations
        for rival in item.baselines
    ]
    return pd.DataFrame(rows, columns=None if rows else ["count", "method", "removed", "cost"])


def _set(found: Recommendations, removed: tuple[int, ...], item: VerifiedModel) -> dict[str, Any]:
    cost, speed = item.estimate, item.speed
    return {
        "removed": tuple(found.players[player] for player in removed),
        "cost": cost.value,
        "lower": cost.lower,
        "upper": cost.upper,
        "perplexity": _float(item.perplexity),
        "kl": _float(item.kl),
        "top1": _float(item.top1),
        "prefill": np.nan if speed is None else speed.ratio("prefill").value,
        "decoding": np.nan if speed is None else speed.ratio("decode").value,
    }


def _repaired(item: VerifiedVariant) -> dict[str, Any]:
    repair = item.repair
    cost = Estimate.of(None, None, None) if repair is None else repair.estimate
    return {
        "repaired": cost.value,
        "repaired_lower": cost.lower,
        "repaired_upper": cost.upper,
        "repair": None if repair is None else repair.method,
    }


def _float(number: float | None) -> float:
    return np.nan if number is None else float(number)
