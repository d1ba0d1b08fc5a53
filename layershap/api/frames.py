"""A run's JSON files as pandas frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "baselines_frame",
    "interactions_frame",
    "pairs_frame",
    "recommendations_frame",
    "values_frame",
]


def values_frame(content: Mapping[str, Any]) -> pd.DataFrame:
    """Returns `values.json` with one row a player, in units of the utility.

    Columns: `value`, `standard_error`, `lower`, `upper` (95 %) of the Shapley value; `restricted`
    with its ends, the value when few are removed; `rank`, 1 for the least valuable.
    """
    shapley, restricted = content["shapley"], content["restricted"]
    frame = pd.DataFrame(
        {
            "value": _floats(shapley["values"]),
            "standard_error": _floats(shapley["standard_errors"]),
            "lower": _floats(shapley["lower"]),
            "upper": _floats(shapley["upper"]),
            "restricted": _floats(restricted["values"]),
            "restricted_lower": _floats(restricted["lower"]),
            "restricted_upper": _floats(restricted["upper"]),
        },
        index=pd.Index(shapley["players"], name="player"),
    )
    frame["rank"] = frame["value"].rank(method="first").astype(int)
    frame.attrs = {"unit": content["unit"], "restricted_to": content["restricted_to"]}
    return frame


def interactions_frame(content: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the symmetric pairwise interactions of `values.json`, in units of the utility."""
    players = content["shapley"]["players"]
    matrix = np.array([_floats(row) for row in content["interactions"]])
    names = pd.Index(players, name="player")
    frame = pd.DataFrame(matrix, index=names, columns=names.rename("with"))
    frame.attrs = {"unit": content["unit"]}
    return frame


def pairs_frame(content: Mapping[str, Any]) -> pd.DataFrame:
    """Returns every pair once, the strongest interaction first.

    Columns: `first`, `second`, `interaction` and its `standard_error` (0 where it is exact). Below
    zero, removing both costs more than the two costs together.
    """
    players = content["shapley"]["players"]
    matrix = np.array([_floats(row) for row in content["interactions"]])
    errors = content["interaction_standard_errors"]
    spread = np.zeros_like(matrix) if errors is None else np.array([_floats(r) for r in errors])
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


def recommendations_frame(content: Mapping[str, Any]) -> pd.DataFrame:
    """Returns `recommendations.json` with one row for each number of players removed.

    Columns: `removed` (names), `cost` in held-out nats per token above the whole model with
    `lower` and `upper` (95 %, paired), `perplexity`, `kl`, `top1`, `prefill` and `decoding` (speed
    as a ratio to the whole model; NaN where it was not timed), `parameters_saved` and its `share`,
    `best_baseline` with `baseline_cost`, `source` (who proposed the set) and `export`.
    """
    whole = content["dense"]["parameters"]
    rows = []
    for item in content["recommendations"]:
        rivals = [rival for rival in item["baselines"] if rival["difference"] is not None]
        best = min(rivals, key=lambda rival: rival["difference"], default=None)
        rows.append(
            {
                **_set(content, item),
                "parameters_saved": item["parameters_saved"],
                "share": item["parameters_saved"] / max(1, whole),
                "best_baseline": None if best is None else best["method"],
                "baseline_cost": np.nan if best is None else float(best["difference"]),
                "source": item["source"],
                "export": item["export"],
            }
        )
    counts = pd.Index([item["count"] for item in content["recommendations"]], name="count")
    frame = pd.DataFrame(rows, index=counts)
    dense = {name: content["dense"][name] for name in ("nll", "perplexity", "parameters")}
    frame.attrs = {"text": content["text"], "tokens": content["tokens"], "dense": dense}
    return frame


def baselines_frame(content: Mapping[str, Any]) -> pd.DataFrame:
    """Returns what published methods remove, measured on the same held-out text.

    Columns: `count`, `method`, and the set and quality columns of `recommendations_frame`.
    """
    rows = [
        {"count": item["count"], "method": rival["method"], **_set(content, rival)}
        for item in content["recommendations"]
        for rival in item["baselines"]
    ]
    return pd.DataFrame(rows, columns=None if rows else ["count", "method", "removed", "cost"])


def _set(content: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    speed = item.get("speed") or {}
    players = content["players"]
    return {
        "removed": tuple(players[player] for player in item["removed"]),
        "cost": _float(item["difference"]),
        "lower": _float(item["difference_lower"]),
        "upper": _float(item["difference_upper"]),
        "perplexity": _float(item["perplexity"]),
        "kl": _float(item["kl"]),
        "top1": _float(item["top1"]),
        # The middle of low, middle, high.
        "prefill": speed["prefill_ratio"][1] if speed else np.nan,
        "decoding": speed["decode_ratio"][1] if speed else np.nan,
    }


def _floats(numbers: Sequence[float | None]) -> list[float]:
    return [_float(number) for number in numbers]


def _float(number: float | None) -> float:
    return np.nan if number is None else float(number)
