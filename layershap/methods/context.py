"""What a run offers to published methods, why one cannot run in it, and what one found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from shapley.baselines import OWN_UTILITY, Method, PartialGame
from shapley.game import Game

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decoder import Roster
    from decoder.surgery.edit import Merge

__all__ = ["BaselineResult", "RunContext", "refusal", "run_method"]

Removed = tuple[int, ...]


@dataclass(frozen=True)
class RunContext:
    """What methods may ask of a run; what is measured for them goes through the run's ledger.

    It is a `shapley.baselines.MethodContext` and a `decoder.baselines.ModelContext`.

    Attributes:
        roster: who plays.
        utility: the metric that decides in this run.
        evaluation_tokens: by measured metric, the tokens that one evaluation of it sends through
            the model.
        tokens: calibration token ids.
        budget: evaluations for a method that can spend any number.
        seed: of its random choices.
        game: the real model as a game, by metric; higher is better.
        parts: the same on single sequences of the text, by metric.
        model: the driver's own copy, loaded when first asked for.
    """

    roster: Roster
    utility: str
    evaluation_tokens: Mapping[str, int]
    tokens: Int[np.ndarray, "S T"]
    budget: int
    seed: int
    game: Callable[[str], Game]
    parts: Callable[[str], PartialGame]
    model: Callable[[], PreTrainedModel]

    @property
    def players(self) -> int:
        """Number of players."""
        return len(self.roster.names)

    @property
    def layers(self) -> tuple[tuple[int, ...], ...]:
        """The layers that each player is, or is a part of."""
        return self.roster.layers

    @property
    def depth(self) -> int:
        """Layers of the model, those included that nobody plays."""
        return self.roster.depth

    @property
    def kind(self) -> str:
        """What the players are: "layers", "sublayers" or "blocks"."""
        return self.roster.kind.partition(":")[0]


@dataclass(frozen=True)
class BaselineResult:
    """The sets of one method in one run.

    Attributes:
        sets: sorted removed players by count.
        evaluations: distinct evaluations that the method itself needs, a part of the text counting
            in proportion.
        tokens: model tokens that it needs: of its evaluations and of its own passes.
        merges: by count, where removed layers are merged into others instead of dropped.
        note: what a reader should know.
    """

    sets: Mapping[int, Removed]
    evaluations: float
    tokens: int
    merges: Mapping[int, tuple[Merge, ...]] | None = None
    note: str | None = None


def run_method(
    method: Method[RunContext], context: RunContext, counts: Sequence[int]
) -> BaselineResult:
    """Find a method's sets and what it needs for them, in evaluations and in model tokens.

    Args:
        method: one that is not refused.
        context: what the run offers.
        counts: numbers of players to remove.
    """
    from decoder.baselines import MergedSets

    found = method.run(context, counts)
    tokens = found.tokens
    if method.metric is not None:
        metric = context.utility if method.metric == OWN_UTILITY else method.metric
        tokens += round(found.evaluations * context.evaluation_tokens[metric])
    merges = found.merges if isinstance(found, MergedSets) else None
    return BaselineResult(dict(found.sets), found.evaluations, tokens, merges, found.note)


def refusal(method: Method[RunContext], context: RunContext, counts: Sequence[int]) -> str | None:
    """Tell why a method cannot run here, in one line with the rule and the remedy.

    Args:
        method: the method.
        context: what the run offers.
        counts: numbers of players to remove.

    Returns:
        The line; None where it can run.
    """
    if context.kind not in method.players:
        wanted = " or ".join("blocks:K" if kind == "blocks" else kind for kind in method.players)
        return (
            f"{method.name}: is made for players {wanted}, and this run's are "
            f"{context.roster.kind}; measure a run with --players {wanted}"
        )
    if method.metric not in (None, OWN_UTILITY, *context.evaluation_tokens):
        return (
            f"{method.name}: needs {method.metric} on text, and this run measures tasks alone; "
            f"measure a run with --utility {method.metric} beside them"
        )
    if method.spends and context.budget < len(counts):
        return (
            f"--budget {context.budget}: {method.name} needs at least an evaluation for each "
            f"of {len(counts)} counts; raise it"
        )
    if method.check is not None:
        try:
            method.check(context, counts)
        except ValueError as error:
            return f"{method.name}: {' '.join(str(error).split())}"
    return None
