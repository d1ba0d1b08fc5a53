"""Smaller models on the held-out text and tasks, beside the whole one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
from jaxtyping import Float

from cluster import Column
from layershap.results.paired_results import PairedResult, TaskResult, TextResult
from layershap.results.perplexity import MOST_NATS, TOLERANCE, rise
from layershap.runs.recorded import HELDOUT, REPAIRED_HELDOUT
from layershap.runs.texts import TextPart
from layershap.runs.workspace import Workspace
from layershap.stages.contenders import Variant
from sampling import without
from shapley.uncertainty.paired import matched_interval, paired_interval

__all__ = ["HeldOut", "Quality", "measure_heldout"]

_TEXT = ("nll", "kl", "top1")


class Quality(TypedDict):
    """The fields of `VerifiedModel` that tell a model's quality."""

    nll: float
    perplexity: float
    difference: float
    difference_lower: float
    difference_upper: float
    kl: float
    top1: float
    texts: tuple[TextResult, ...]
    tasks: dict[str, TaskResult]
    repaired: PairedResult | None


@dataclass(frozen=True)
class HeldOut:
    """Measurements of variants; the whole model is among them.

    Attributes:
        metrics: by variant and metric, one number a sequence of the text or an item of a task.
        columns: weights and signs of the metrics, by name.
        parts: the text's sources.
        repaired: losses of the sequences, each set repaired alike; without merged models, empty
            where sets are not repaired.
    """

    metrics: Mapping[Variant, Mapping[str, Float[np.ndarray, "W"]]]
    columns: Mapping[str, Column]
    parts: Sequence[TextPart]
    repaired: Mapping[Variant, Float[np.ndarray, "W"]] = field(default_factory=dict)

    def mean(self, variant: Variant, metric: str) -> float:
        """Weighted mean of a metric; NaN unless it is finite."""
        values = self.metrics[variant][metric].astype(np.float32)
        return float(self.columns[metric].mean(values[None])[0])

    def difference(
        self, variant: Variant, other: Variant, part: TextPart | None = None
    ) -> tuple[float, float, float]:
        """Nats per token that a variant costs more than another, with its paired 95 % interval."""
        rows = slice(None) if part is None else slice(part.first, part.stop)
        weights = np.array(self.columns["nll"].weights, dtype=np.float64)[rows]
        with np.errstate(invalid="ignore"):  # inf - inf
            apart = self.metrics[variant]["nll"] - self.metrics[other]["nll"]
        return paired_interval(apart[rows], weights)

    def compared(self, variant: Variant, other: Variant) -> tuple[float, float, float] | None:
        """The same once both are repaired alike; None where one of them was not."""
        if variant not in self.repaired or other not in self.repaired:
            return None
        weights = np.array(self.columns["nll"].weights, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            apart = self.repaired[variant] - self.repaired[other]
        return paired_interval(apart, weights)

    def quality(self, variant: Variant) -> Quality:
        """Return what is told of a variant's quality."""
        nll = self.mean(variant, "nll")
        difference, lower, upper = self.difference(variant, Variant())
        return {
            "nll": nll,
            "perplexity": float(np.exp(min(nll, MOST_NATS))),
            "difference": difference,
            "difference_lower": lower,
            "difference_upper": upper,
            "kl": self.mean(variant, "kl"),
            "top1": self.mean(variant, "top1"),
            "texts": tuple(self._text(variant, part) for part in self.parts),
            "tasks": {
                name: self._task(variant, name) for name in self.columns if name not in _TEXT
            },
            "repaired": self._repaired(variant),
        }

    def warnings(self, variant: Variant) -> list[str]:
        """What perplexity on all of the text together does not show of a set that it calls good."""
        if not _good(*self.difference(variant, Variant())):
            return []
        found = []
        for part in self.parts[:0] if len(self.parts) < 2 else self.parts:
            apart = self.difference(variant, Variant(), part)
            if not _good(*apart):
                found.append(
                    f"on {part.name} alone perplexity rises by {100 * rise(apart[0]):.1f} %"
                )
        falls: dict[str, tuple[float, str]] = {}
        for name in self.columns:
            task, _, score = name.rpartition(".")
            if score not in ("acc", "acc_norm"):
                continue
            fact = self._task(variant, name)
            least = falls.get(task, (0.0, ""))[0]
            apart = fact.estimate
            if apart.upper < 0 and apart.value < least and fact.value is not None:
                before, after = fact.value - apart.value, fact.value
                falls[task] = (
                    apart.value,
                    f"perplexity hardly changes, but the accuracy on {task} ({score}) falls from "
                    f"{100 * before:.1f} % to {100 * after:.1f} % (95 % interval of the change "
                    f"{100 * apart.lower:+.1f} to {100 * apart.upper:+.1f} points)",
                )
        return found + [sentence for _, sentence in falls.values()]

    def _repaired(self, variant: Variant) -> PairedResult | None:
        found = self.compared(variant, Variant())
        if found is None or variant == Variant():
            return None
        difference, lower, upper = found
        return PairedResult(difference=difference, lower=lower, upper=upper)

    def _text(self, variant: Variant, part: TextPart) -> TextResult:
        difference, lower, upper = self.difference(variant, Variant(), part)
        tokens = sum(self.columns["nll"].weights[part.first : part.stop])
        return TextResult(
            name=part.name, tokens=int(tokens), difference=difference, lower=lower, upper=upper
        )

    def _task(self, variant: Variant, name: str) -> TaskResult:
        own, dense = self.metrics[variant][name], self.metrics[Variant()][name]
        if name.endswith((".acc", ".acc_norm")):
            difference, lower, upper = matched_interval(own, dense)
        else:
            difference, lower, upper = paired_interval(own - dense, np.ones(len(own)))
        value = self.mean(variant, name)
        return TaskResult(value=value, difference=difference, lower=lower, upper=upper)


def measure_heldout(
    work: Workspace, variants: Sequence[Variant], *, repaired: bool = False
) -> HeldOut:
    """Measure variants: sets through the ledger, merged models on the driver's own copy.

    Args:
        work: the run; its workers are closed afterwards.
        variants: what to measure, the whole model among them.
        repaired: measure the sets repaired as well.
    """
    sets = [variant for variant in variants if not variant.merges]
    rows = np.array([without(len(work.players), variant.removed) for variant in sets])
    work.measure(HELDOUT, rows, "verifying")
    after: dict[Variant, np.ndarray] = {}
    if repaired:
        work.measure(REPAIRED_HELDOUT, rows, "verifying repaired sets")
        losses = work.campaign(REPAIRED_HELDOUT).read(rows).metrics["nll"]
        after = dict(zip(sets, losses.astype(np.float64), strict=True))
    work.close_workers()
    campaign = work.campaign(HELDOUT)
    records = campaign.read(rows)
    wide = {name: values.astype(np.float64) for name, values in records.metrics.items()}
    metrics = {
        variant: {name: values[row] for name, values in wide.items()}
        for row, variant in enumerate(sets)
    }
    merged = [variant for variant in variants if variant.merges]
    if merged:
        metrics |= _merged(work, merged, metrics[Variant()])
    columns = {column.name: column for column in records.columns}
    return HeldOut(metrics, columns, work.texts.heldout_parts, after)


def _merged(
    work: Workspace, variants: Sequence[Variant], dense: Mapping[str, Float[np.ndarray, "W"]]
) -> dict[Variant, dict[str, Float[np.ndarray, "W"]]]:
    """Merged models: no coalition of the whole model is one, so the ledger cannot hold them."""
    from decoder import MaskedModel
    from decoder.surgery.edit import Merge
    from decoder.surgery.merged_metrics import merged_metrics

    workload = work.workload(HELDOUT)
    everything = np.ones((1, work.roster.depth), dtype=bool)
    found = {}
    # Workers may compute in another precision than this process: only the difference from the
    # whole model, measured here as well, is carried over.
    with work.console.status("measuring the whole model"):
        here = MaskedModel(work.model, workload).measure(everything)
    for variant in work.console.steps("measuring merged models", variants):
        merges = [Merge(into, layers) for into, layers in variant.merges]
        own = merged_metrics(work.model, workload, merges)
        found[variant] = {
            name: own[name][0].astype(np.float64)
            if name in ("kl", "top1") or name.endswith((".acc", ".acc_norm"))
            else dense[name] + (own[name][0].astype(np.float64) - here[name][0])
            for name in dense
        }
    return found


def _good(difference: float, lower: float, upper: float) -> bool:
    edge = upper if math.isfinite(upper) else difference
    return math.isfinite(edge) and rise(edge) <= TOLERANCE
