"""Scores of lm-evaluation-harness, and differences of two models' with paired intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from shapley.uncertainty.paired import matched_interval, paired_interval

__all__ = ["Difference", "Score", "read_scores"]


@dataclass(frozen=True)
class Difference:
    """One checkpoint's score less the other's, on the same items.

    Attributes:
        scale: "difference", or "log ratio" for perplexities: nats per what they count.
        mean: the difference.
        lower, upper: its 95 % interval over items; NaN for a single item.
    """

    scale: str
    mean: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Score:
    """One metric of one task.

    Attributes:
        task: its name.
        metric: the metric's, with the harness' filter after a comma where it is not "none".
        items: how many were scored.
        higher_is_better: None where the harness does not tell.
        value: the checkpoint's score.
        error: the harness' standard error; None where it gives none.
        against, against_error: the same of the other checkpoint, None without one.
        difference: None without another checkpoint, or where the score is no mean over items.
    """

    task: str
    metric: str
    items: int
    higher_is_better: bool | None
    value: float
    error: float | None
    against: float | None = None
    against_error: float | None = None
    difference: Difference | None = None


def read_scores(own: dict[str, Any], other: dict[str, Any] | None = None) -> Iterator[Score]:
    """The scores in what `lm_eval.simple_evaluate` returns.

    Args:
        own: of the checkpoint.
        other: of the model to compare with, on the same items.
    """
    for task, found in own["results"].items():
        for key, value in found.items():
            metric, comma, kind = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = f"{metric}_stderr,{kind}"
            score = {
                "task": task,
                "metric": metric if kind == "none" else key,
                "higher_is_better": own["higher_is_better"].get(task, {}).get(metric),
                "items": own["n-samples"].get(task, {}).get("effective", 0),
                "value": float(value),
                "error": _number(found.get(error)),
            }
            if other is not None:
                score |= {
                    "against": float(other["results"][task][key]),
                    "against_error": _number(other["results"][task].get(error)),
                    "difference": _difference(
                        _items(own, task, metric, kind),
                        _items(other, task, metric, kind),
                        float(value),
                    ),
                }
            yield Score(**score)


def _number(value: Any) -> float | None:
    """The harness writes "N/A" where it has no standard error."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _items(
    results: dict[str, Any], task: str, metric: str, kind: str
) -> tuple[Float[np.ndarray, "I"], Float[np.ndarray, "I"]] | None:
    """Each item's value and weight, in the order of the items; None where they are no numbers."""
    samples = [s for s in results.get("samples", {}).get(task, ()) if s["filter"] == kind]
    values = [s.get(metric) for s in sorted(samples, key=lambda sample: sample["doc_id"])]
    pairs = [v if isinstance(v, tuple | list) and len(v) == 2 else (v, 1.0) for v in values]
    if not pairs or not all(isinstance(x, int | float) for pair in pairs for x in pair):
        return None
    table = np.array(pairs, dtype=np.float64)
    return table[:, 0], table[:, 1]


def _difference(own: Any, other: Any, score: float) -> Difference | None:
    """The paired difference, on the scale on which the harness' score is a mean over items."""
    if own is None or other is None or len(own[0]) != len(other[0]):
        return None
    (values, weights), (others, _) = own, other
    if (weights == 1).all() and np.isin([values, others], [0.0, 1.0]).all():
        return Difference("difference", *matched_interval(values, others))
    mean = float(values.sum() / weights.sum())
    with np.errstate(over="ignore"):
        scales = (
            ("difference", 1.0, mean),
            ("difference", -1 / math.log(2), -mean / math.log(2)),  # bits of log-likelihoods
            ("log ratio", -1.0, float(np.exp(-mean))),  # perplexities of log-likelihoods
        )
    for scale, factor, value in scales:
        if math.isclose(value, score, rel_tol=1e-6, abs_tol=1e-9):
            return Difference(
                scale, *paired_interval(factor * (values - others) / weights, weights)
            )
    return None
