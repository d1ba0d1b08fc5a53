"""LaCo: layers collapse into earlier ones while the output stays alike.

Source: Yang et al., "LaCo: Large Language Model Pruning via Layer Collapse", arXiv 2402.11187,
algorithm 1. From the top down, a window of C layers becomes one (`decoder.surgery.merge`); the
merge is accepted where the mean cosine between the merged model's and the original's final hidden
states, one flattened vector a sentence, stays above a threshold T, and the window then moves down
by I layers, else by one. The paper sets C, I and T by hand for a share of layers; here the number
of removed layers is given, so that for each C and I the highest T that reaches it is searched, and
the last merge takes no more layers than are missing. The most alike of these results is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from decoder.baselines.arguments import check_counts, check_model
from decoder.baselines.context import MergedSets, ModelContext
from decoder.baselines.spend import Spend
from decoder.errors import UnsupportedModel
from decoder.model.structure import find_stack
from decoder.model.trace import record
from decoder.players import Roster
from decoder.surgery.apply import applied
from decoder.surgery.edit import Merge
from decoder.surgery.merge import check_alike
from shapley.baselines import Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["METHOD", "Merged", "laco_merges"]

_THRESHOLDS = (*(round(0.95 - 0.05 * step, 2) for step in range(20)), -np.inf)

Steps = tuple[Merge, ...]
Alike = Callable[[Steps], float]


@dataclass(frozen=True)
class Merged:
    """What LaCo does to a model for one count.

    Attributes:
        merges: in order, edits for `decoder.surgery.apply.applied`.
        removed: indices of the players that are merged away.
        similarity: mean cosine of the final hidden states to the original's.
        threshold: T; minus infinity where every merge had to be accepted.
        size: C, layers a window.
        interval: I, layers that the window moves down after a merge.
    """

    merges: Steps
    removed: tuple[int, ...]
    similarity: float
    threshold: float
    size: int
    interval: int

    @property
    def lists(self) -> list[list[int | list[int]]]:
        """The merges as JSON holds them: [[layer that stays, [layers that go]], ...]."""
        return [[merge.into, list(merge.layers)] for merge in self.merges]


def laco_merges(
    model: PreTrainedModel,
    tokens: Int[np.ndarray, "S T"],
    roster: Roster,
    counts: Sequence[int],
    *,
    sizes: Sequence[int] = (2, 3, 4, 5, 6, 7),
    intervals: Sequence[int] = (1, 2),
    sentences: int = 10,
    length: int = 64,
) -> tuple[dict[int, Merged], Spend]:
    """The merges for each count of removed layers.

    Args:
        model: the model; it is left bit for bit as it is.
        tokens: calibration token ids; the first sentences are used.
        roster: who plays: whole layers. Protected layers are neither merged nor merged into.
        counts: how many layers to remove.
        sizes: C, the windows to try.
        intervals: I, the moves after a merge to try.
        sentences: how many sequences outputs are compared on.
        length: tokens of each that are used.

    Returns:
        the merges by count, and the forward passes of the sentences that they took.

    Raises:
        ValueError: an argument does not fit, the players are not whole layers, or protected
            layers leave no merges that remove so many.
        UnsupportedModel: layers cannot be told, or their weights are unlike.
    """
    stack, ids = check_model(model, tokens, roster)
    if roster.kind != "layers":
        raise ValueError(f"LaCo merges whole layers, not players {roster.kind}; use players layers")
    wanted = check_counts(roster, counts)
    if not sizes or min(sizes) < 2 or not intervals or min(*intervals, sentences, length) < 1:
        raise ValueError("sizes must be at least 2 layers; intervals, sentences, length at least 1")
    check_alike(model, stack)
    some = ids[:sentences, :length]
    players = {s.units[0].layer: s.player for s in roster.slots if s.player is not None}
    found: dict[int, Merged] = {}
    alike = _Comparison(model, some)
    for count in wanted:
        best = _best(alike, roster.depth, set(players), count, sizes, intervals)
        if best is None:
            raise ValueError(
                f"LaCo finds no merges that remove {count} layers beside the protected ones "
                f"({', '.join(roster.protected)}); remove or protect fewer"
            )
        merges, similarity, threshold, size, step = best
        removed = sorted(players[layer] for merge in merges for layer in merge.layers)
        found[count] = Merged(merges, tuple(removed), similarity, threshold, size, step)
    return found, Spend(alike.passes * some.size)


class _Comparison:
    """How alike a merged model's final hidden states are to the original's; each once."""

    def __init__(self, model: PreTrainedModel, ids: Int[np.ndarray, "S T"]) -> None:
        self._model = model
        self._ids_ST = torch.from_numpy(ids).to(model.device)
        with torch.inference_mode():
            record(model, find_stack(model), self._ids_ST)  # refuses what cannot lose layers
        self._original_SE = self._outputs()
        self._known: dict[Steps, float] = {}

    @property
    def passes(self) -> int:
        """Forward passes of all sentences, the original's included."""
        return 1 + len(self._known)

    def __call__(self, merges: Steps) -> float:
        if merges not in self._known:
            with applied(self._model, merges):
                outputs_SE = self._outputs()
            cosine_S = torch.cosine_similarity(self._original_SE, outputs_SE, dim=1)
            mean = cosine_S.mean().item()
            self._known[merges] = mean if np.isfinite(mean) else -1.0
        return self._known[merges]

    @torch.inference_mode()
    def _outputs(self) -> Tensor:
        """Hidden states after the final norm, one flat vector a sentence."""
        output = self._model.base_model(input_ids=self._ids_ST, use_cache=False)
        hidden_STD = getattr(output, "last_hidden_state", None)
        if not isinstance(hidden_STD, Tensor):
            raise UnsupportedModel(
                f"model type {self._model.config.model_type}: it gives no final hidden states; "
                "LaCo compares them, use another method"
            )
        return hidden_STD.double().flatten(1)


def _best(
    alike: Alike,
    depth: int,
    free: set[int],
    count: int,
    sizes: Sequence[int],
    intervals: Sequence[int],
) -> tuple[Steps, float, float, int, int] | None:
    """The most alike merges that remove so many layers, with their similarity, T, C and I."""
    reached = []
    for size in sorted({min(size, count + 1) for size in sizes}):
        for interval in intervals:
            for threshold in _THRESHOLDS:
                merges = _walk(alike, depth, free, count, size, interval, threshold)
                if merges is not None:
                    reached.append((merges, alike(merges), threshold, size, interval))
                    break
    return max(reached, key=lambda result: result[1], default=None)


def _walk(
    alike: Alike, depth: int, free: set[int], count: int, size: int, interval: int, threshold: float
) -> Steps | None:
    """Algorithm 1; None where it removes fewer layers than wanted."""
    layers, merges, missing = list(range(depth)), (), count
    at = depth - size
    while at >= 0 and missing:
        window = layers[at : at + 1 + min(size - 1, missing)]
        tried = (*merges, Merge(window[0], tuple(window[1:])))
        if len(window) > 1 and free.issuperset(window) and alike(tried) > threshold:
            merges, missing = tried, missing - len(window) + 1
            del layers[at + 1 : at + len(window)]
            at -= interval
        else:
            at -= 1
    return merges if not missing else None


def run_laco(context: ModelContext, counts: Sequence[int]) -> MergedSets:
    """Layers merged into earlier ones."""
    found, spend = laco_merges(context.model(), context.tokens, context.roster, counts)
    return MergedSets(
        {count: one.removed for count, one in found.items()},
        tokens=spend.tokens,
        merges={count: one.merges for count, one in found.items()},
        note="removed layers are merged into others, not dropped",
    )


def check_mergeable(context: ModelContext, counts: Sequence[int]) -> None:
    """Raises UnsupportedModel, a ValueError, where layers cannot be added to each other."""
    model = context.model()
    check_alike(model, find_stack(model))


METHOD = Method(
    name="LaCo",
    source="Yang et al., arXiv 2402.11187, algorithm 1",
    needs="the model, its layers alike; whole layers",
    kind="edits",
    players=("layers",),
    passes=True,
    check=check_mergeable,
    run=run_laco,
)
