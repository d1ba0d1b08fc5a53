"""What a published method may ask of a run, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from layershap.results.set_text import slug

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decoder import Roster
    from decoder.surgery.edit import Merge
    from shapley import Game
    from shapley.baselines import PartialGame

__all__ = ["Baseline", "BaselineResult", "MethodContext"]

Removed = tuple[int, ...]


@dataclass(frozen=True)
class MethodContext:
    """What a method may ask of a run; what is measured for it goes through the run's ledger.

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
    def kind(self) -> str:
        """What the players are: "layers", "sublayers" or "blocks"."""
        return self.roster.kind.partition(":")[0]


@dataclass(frozen=True)
class BaselineResult:
    """The sets of one method.

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


@dataclass(frozen=True)
class Baseline:
    """A published method.

    Attributes:
        name: what people read.
        source: where it was published.
        needs: what it asks of a run, for people.
        run: finds a set for each count.
        players: kinds of players that it is made for.
        metric: the metric that must be measured in the run, beside its own utility.
        passes: whether it runs passes of its own through the driver's copy of the model.
        spends: whether it can use any budget of evaluations.
        also: other names that people know it by.
        check: raises ValueError where the model or the counts rule it out.
    """

    name: str
    source: str
    needs: str
    run: Callable[[MethodContext, Sequence[int]], BaselineResult]
    players: tuple[str, ...] = ("layers", "sublayers", "blocks")
    metric: str | None = None
    passes: bool = False
    spends: bool = False
    also: tuple[str, ...] = ()
    check: Callable[[MethodContext, Sequence[int]], object] | None = None

    @property
    def slug(self) -> str:
        """Its name on the command line."""
        return slug(self.name)

    def refusal(self, bench: MethodContext, counts: Sequence[int]) -> str | None:
        """Why it cannot run here, in one line with the rule and the remedy; None where it can."""
        if bench.kind not in self.players:
            wanted = " or ".join("blocks:K" if kind == "blocks" else kind for kind in self.players)
            return (
                f"{self.name}: is made for players {wanted}, and this run's are "
                f"{bench.roster.kind}; measure a run with --players {wanted}"
            )
        if self.metric and self.metric not in bench.evaluation_tokens:
            return (
                f"{self.name}: needs {self.metric} on text, and this run measures tasks alone; "
                f"measure a run with --utility {self.metric} beside them"
            )
        if self.check is not None:
            try:
                self.check(bench, counts)
            except ValueError as error:
                return f"{self.name}: {' '.join(str(error).split())}"
        return None
