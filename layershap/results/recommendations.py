"""Sets verified on held-out text: `recommendations.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import model_serializer

from layershap.results.baseline_sets import Merges
from layershap.results.estimate import Estimate
from layershap.results.paired_results import PairedResult, RepairedCost, TaskResult, TextResult
from layershap.results.perplexity import TOLERANCE, rise
from layershap.results.result_file import ResultFile

__all__ = [
    "RECOMMENDATIONS",
    "BaselineVariant",
    "BestBaseline",
    "DenseModel",
    "Recommendations",
    "Speed",
    "VerifiedModel",
    "VerifiedVariant",
]

Removed = tuple[int, ...]
Quartiles = tuple[float, float, float]
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class BestBaseline(PairedResult):
    """A set beside the baseline of its count that costs least on the held-out text itself.

    That choice is in the baseline's favour; the difference is what the set costs more, both
    repaired alike where sets were searched for that are best repaired.

    Attributes:
        method: the baseline.
        removed: what it removes.
    """

    method: str
    removed: Removed


@dataclass(frozen=True)
class Speed:
    """Measured speed and memory of a model as an export writes it; see `decoder.cost.speed`.

    Attributes:
        prefill: tokens of a prompt a second.
        decode: tokens a second, cached, one after the other.
        prefill_ratio: quartiles of the ratio to the whole model in the same round.
        decode_ratio: likewise.
        parameters: of the model.
        prefill_interval: 95 % of the median ratio; None with too few rounds.
        decode_interval: likewise.
        latency_ms: quartiles of the time of a decoded token.
        parameter_bytes: of the weights.
        cache_bytes: of the cache at the timed length.
        cache_bytes_per_token: of a sequence.
        peak_bytes: while reading a prompt and decoding; None where not measured.
        prompt_tokens: of the timed prompt.
        new_tokens: that were decoded.
        rounds: that were timed.
    """

    prefill: float
    decode: float
    prefill_ratio: Quartiles
    decode_ratio: Quartiles
    parameters: int
    prefill_interval: Interval | None = None
    decode_interval: Interval | None = None
    latency_ms: Quartiles | None = None
    parameter_bytes: int | None = None
    cache_bytes: int | None = None
    cache_bytes_per_token: float | None = None
    peak_bytes: int | None = None
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    rounds: int | None = None

    def ratio(self, name: str) -> Estimate:
        """Return the median ratio of `prefill` or `decode` with its interval, if it has one."""
        interval: Interval | None = getattr(self, f"{name}_interval")
        return Estimate(getattr(self, f"{name}_ratio")[1], *(interval or ()))


@dataclass(frozen=True, kw_only=True)
class VerifiedModel:
    """Quality, size and speed of one model on the held-out text.

    Attributes:
        nll: nats per token; None where not finite, like all that follows.
        perplexity: its exponential.
        difference: nats per token above the whole model, paired.
        difference_lower: end of its 95 % interval; None where there is none.
        difference_upper: likewise.
        kl: divergence from the whole model, nats per token.
        top1: share of tokens whose likeliest successor is the whole model's.
        texts: one a source of the text.
        tasks: by metric.
        parameters_saved: against the whole model; None in files of early versions.
        speed: None where it was not timed.
        repaired: nats per token above the whole model once each cut is bridged by one fit, alike
            for every set, so that sets of all methods compare; None where not measured.
        untimed: why it could not be timed; None where it was, or was not tried.
        zeroed: halves of layers that an export makes zero, which saves nothing.
    """

    nll: float | None = None
    perplexity: float | None = None
    difference: float | None
    difference_lower: float | None
    difference_upper: float | None
    kl: float | None = None
    top1: float | None = None
    texts: tuple[TextResult, ...] = ()
    tasks: Mapping[str, TaskResult] = field(default_factory=dict)
    parameters_saved: int | None = None
    speed: Speed | None = None
    repaired: PairedResult | None = None
    untimed: str | None = None
    zeroed: tuple[str, ...] = ()

    @property
    def estimate(self) -> Estimate:
        """Nats per token above the whole model, with the interval."""
        return Estimate.of(self.difference, self.difference_lower, self.difference_upper)

    @property
    def compared(self) -> Estimate:
        """The cost by which sets are compared: repaired alike, as it is where not repaired."""
        return self.estimate if self.repaired is None else self.repaired.estimate

    @model_serializer(mode="wrap")
    def _without_unmeasured(self, handler: Any) -> dict[str, Any]:
        """Leave out the speed of what was not timed and the repair of what was not repaired."""
        content = handler(self)
        for name in ("speed", "untimed", "repair", "repaired"):
            if content.get(name) is None:
                content.pop(name, None)
        if not content.get("zeroed"):
            content.pop("zeroed", None)
        return content


@dataclass(frozen=True, kw_only=True)
class DenseModel(VerifiedModel):
    """The whole model.

    Attributes:
        parameters: how many it has.
    """

    parameters: int


@dataclass(frozen=True, kw_only=True)
class BaselineVariant(VerifiedModel):
    """The model that a published method's set leaves.

    Attributes:
        method: who chose the set.
        removed: player indices, ascending.
        names: the same as `--remove` takes them.
        merges: None unless layers are merged instead of dropped.
    """

    method: str
    removed: Removed
    names: str = ""
    merges: Merges | None = None


@dataclass(frozen=True, kw_only=True)
class VerifiedVariant(VerifiedModel):
    """The model that the best set of one count leaves.

    Attributes:
        count: players removed.
        removed: their indices, ascending.
        names: the same as `--remove` takes them.
        source: who found the set.
        calibration_cost: on the calibration text, in units of the utility.
        predicted_utility: before it was measured; None where nothing was predicted.
        export: the command that writes the checkpoint.
        against_best: beside the best baseline of the count; None without baselines.
        warnings: what perplexity does not show, a sentence each.
        baselines: the published methods' models of this count.
        repair: what is left when the kept weights are fitted to the whole model; None where that
            was not done.
    """

    count: int
    removed: Removed
    names: str
    source: str = ""
    calibration_cost: float | None = None
    predicted_utility: float | None = None
    export: str
    against_best: BestBaseline | None
    warnings: tuple[str, ...] = ()
    baselines: tuple[BaselineVariant, ...] = ()
    repair: RepairedCost | None = None

    @property
    def delivered(self) -> Estimate:
        """The cost of what `export` writes: of the repaired model where it was repaired."""
        return self.estimate if self.repair is None else self.repair.estimate

    @property
    def cheapest_baseline(self) -> BaselineVariant | None:
        """The published method's model of this count that costs least; None where there is none."""
        known = [rival for rival in self.baselines if rival.difference is not None]
        return min(known, key=lambda rival: rival.estimate.value, default=None)


@dataclass(frozen=True)
class Recommendations:
    """Verified sets, one a count, beside the whole model and the published methods' sets.

    Attributes:
        fingerprint: of the held-out campaign.
        text: its sources.
        tokens: that were scored.
        noun: what a player is called.
        players: names in depth order.
        dense: the whole model.
        recommendations: by rising count.
    """

    fingerprint: str
    text: str
    tokens: int
    noun: str
    players: tuple[str, ...]
    dense: DenseModel
    recommendations: tuple[VerifiedVariant, ...]

    def variants(self) -> Iterator[VerifiedVariant | BaselineVariant]:
        """Yield every verified set, ours before the published methods' of each count."""
        for item in self.recommendations:
            yield item
            yield from item.baselines

    def put_forward(self) -> VerifiedVariant | None:
        """Return the largest set whose perplexity rises little for sure, else the smallest set.

        Little is :data:`layershap.results.perplexity.TOLERANCE`, upper end of the interval
        included, after repair where there is one. None where nothing that saves parameters was
        verified.
        """
        items = [item for item in self.recommendations if item.parameters_saved != 0]
        inside = [item for item in items if rise(item.delivered.high) <= TOLERANCE]
        return inside[-1] if inside else (items[0] if items else None)

    def of_count(self, count: int) -> VerifiedVariant | None:
        """Return the recommendation of a count; None where there is none."""
        return next((item for item in self.recommendations if item.count == count), None)

    def of_set(
        self, removed: Sequence[int], merges: Merges = ()
    ) -> VerifiedVariant | BaselineVariant | None:
        """Return a verified set; None where there is none.

        Args:
            removed: player indices.
            merges: how their layers are merged into others, where they are not dropped.
        """
        for item in self.variants():
            own = (isinstance(item, BaselineVariant) and item.merges) or ()
            if set(item.removed) == set(removed) and own == merges:
                return item
        return None


RECOMMENDATIONS = ResultFile(Recommendations, "recommendations.json", "verify")
