"""What a report shows, as plain frozen values; whoever renders computes nothing but layout."""

from __future__ import annotations

from dataclasses import dataclass

from layershap.report.cost import Cost
from layershap.report.sets import Recommendation
from layershap.results.estimate import Estimate
from layershap.results.frontier import FrontierPoint
from layershap.results.perplexity import TOLERANCE
from layershap.results.surrogate_fit import ExcessBin
from layershap.results.values import ErrorPoint, ValueOf

__all__ = [
    "Cost",
    "Dense",
    "FitScore",
    "Pending",
    "PlayerValues",
    "Provenance",
    "Ranking",
    "Report",
    "SurrogateFit",
    "TextFacts",
]


@dataclass(frozen=True)
class TextFacts:
    """A text that something was measured on.

    Attributes:
        name: what a person calls it.
        tokens: how many tokens were scored.
    """

    name: str
    tokens: int


@dataclass(frozen=True)
class Dense:
    """The whole model on the held-out text.

    Attributes:
        nll: nats per token.
        parameters: how many.
        prefill: tokens per second reading a prompt; None where not measured.
        decoding: tokens per second of cached decoding; None where not measured.
    """

    nll: float
    parameters: int
    prefill: Estimate | None = None
    decoding: Estimate | None = None


@dataclass(frozen=True)
class PlayerValues:
    """One value a player, drawn as one panel of bars.

    Attributes:
        title: such as ``Shapley value``.
        note: what stands behind the values, in one sentence.
        values: one a player, in the report's `value_unit`; intervals of the sampling.
        with_text: the same with intervals that also hold the choice of the text; may be empty.
    """

    title: str
    note: str
    values: tuple[Estimate, ...]
    with_text: tuple[Estimate, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """How sure the ranking is.

    Attributes:
        k: number of least valuable players that it is about.
        sentences: with probabilities.
    """

    k: int
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class FitScore:
    """Held-out scores of one learner, overall or for one number of removed players.

    Attributes:
        learner: its name; the surrogate's comes first.
        removed: number of removed players; None for all coalitions together.
        count: number of coalitions.
        r2: share of the variance explained; None where undefined.
        spearman: rank correlation; None where undefined.
        mae: mean absolute error in the unit of the utility.
    """

    learner: str
    removed: int | None
    count: int
    r2: float | None
    spearman: float | None
    mae: float


@dataclass(frozen=True)
class SurrogateFit:
    """Out-of-fold predictions of the surrogate and everyone's held-out scores.

    Attributes:
        removed: number of removed players of each measured coalition.
        measured: utilities.
        predicted: predictions by members that never saw the coalition.
        scores: of the surrogate and of the learners it must beat.
        coverage: share of held-out utilities inside the surrogate's intervals; None if unknown.
        level: the level those intervals are meant to have.
        near: how good it is near the whole model, in a sentence; None where no set is near.
        by_excess: its scores by how much a set costs.
    """

    removed: tuple[int, ...]
    measured: tuple[float, ...]
    predicted: tuple[float, ...]
    scores: tuple[FitScore, ...]
    coverage: float | None = None
    level: float = 0.9
    near: str | None = None
    by_excess: tuple[ExcessBin, ...] = ()


@dataclass(frozen=True)
class Provenance:
    """All that is needed to get the same report again.

    Attributes:
        command: the command line.
        seed: the seed of every random stream.
        fingerprint: content hash of weights, texts, players, dtype and evaluator.
        config: text of ``run.toml``.
        date: when the report was made.
        seconds: wall time of the run.
        device: what it ran on, in words.
        versions: names and versions of what matters.
        explore: the command that opens the explorer of this run; empty where there is none.
    """

    command: str
    seed: int
    fingerprint: str
    config: str
    date: str
    seconds: float
    device: str
    versions: tuple[tuple[str, str], ...] = ()
    explore: str = ""


@dataclass(frozen=True)
class Pending:
    """What a run that is not verified yet can say.

    Attributes:
        finding: in place of what the set put forward costs, a sentence or two.
        advice: what to do next, a sentence.
    """

    finding: str
    advice: str


@dataclass(frozen=True)
class Report:
    """Everything a person wants to look at.

    Attributes:
        model: name of the model.
        players: names in depth order.
        calibration: the text the search saw.
        held_out: the text it did not see; None before anything was verified on it.
        dense: the whole model on the held-out text; None likewise.
        recommendations: one for each number of removed players, ascending.
        values: panels of bars: the Shapley values, then the size-restricted ones.
        provenance: how to reproduce the run.
        spent: distinct coalitions measured.
        budget: how many were allowed.
        player_noun: what one player is: ``layer``, ``sublayer``.
        unit: unit of the utility.
        value_of: what values, interactions and their errors are of.
        value_unit: what those are counted in; `unit` for the raw loss.
        value_facts: what values of retention mean and add up to, a sentence each.
        surrogate: None where no surrogate was fitted.
        interactions: symmetric pairwise interactions, ``n`` rows; None where not computed.
        excluded: measured coalitions left out because their utility was not finite.
        chosen: size of the set put forward; None lets ``tolerance`` decide.
        tolerance: without ``chosen``, the largest set whose perplexity rises by no more than this
            share, interval included, is put forward.
        alarms: why the numbers may not be about what a reader thinks, a sentence each.
        warnings: what the pipeline noticed, a sentence each.
        rankings: how sure the ranking is, for different numbers of players.
        errors: of the Shapley values as coalitions were measured, ascending.
        halving: budget that would halve the largest error; None where it cannot be told.
        frontier: every verified set of every method, as points.
        cost: of the search; None where it is not known.
        pending: what is said in place of recommendations; None once there are any.
    """

    model: str
    players: tuple[str, ...]
    calibration: TextFacts
    held_out: TextFacts | None
    dense: Dense | None
    recommendations: tuple[Recommendation, ...]
    values: tuple[PlayerValues, ...]
    provenance: Provenance
    spent: int
    budget: int
    player_noun: str = "layer"
    unit: str = "nats per token"
    value_of: ValueOf = "loss"
    value_unit: str = "nats per token"
    value_facts: tuple[str, ...] = ()
    surrogate: SurrogateFit | None = None
    interactions: tuple[tuple[float, ...], ...] | None = None
    excluded: int = 0
    chosen: int | None = None
    tolerance: float = TOLERANCE
    alarms: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    errors: tuple[ErrorPoint, ...] = ()
    halving: int | None = None
    frontier: tuple[FrontierPoint, ...] = ()
    cost: Cost | None = None
    pending: Pending | None = None

    def __post_init__(self) -> None:
        n = len(self.players)
        for panel in self.values:
            for entries in (panel.values, panel.with_text or panel.values):
                if len(entries) != n:
                    raise ValueError(
                        f"values: {panel.title!r} has {len(entries)} entries for {n} players; "
                        "give one a player"
                    )
        if self.interactions is not None and [len(row) for row in self.interactions] != [n] * n:
            raise ValueError(f"interactions must be {n} rows of {n}; give one a pair of players")
        for item in (*self.recommendations, *(r for x in self.recommendations for r in x.rivals)):
            if any(not 0 <= player < n for player in item.removed):
                raise ValueError(f"removed {item.removed} names a player outside 0 to {n - 1}")
        sizes = [item.size for item in self.recommendations]
        if sizes != sorted(set(sizes)):
            raise ValueError(f"recommendations have sizes {sizes}; give one a size, ascending")
        if self.chosen is not None and self.chosen not in sizes:
            raise ValueError(f"chosen is {self.chosen}; name one of the recommended sizes {sizes}")
