"""Held-out quality of a run's surrogate: `surrogate/evaluation.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layershap.results.result_file import ResultFile

__all__ = [
    "SURROGATE_FIT",
    "ExcessBin",
    "FitRows",
    "LearnerScores",
    "SurrogateEvaluation",
    "SurrogateFit",
]


@dataclass(frozen=True)
class LearnerScores:
    """How well one learner's held-out predictions meet the measured utilities.

    Attributes:
        count: number of sets.
        r2: share of the variance explained; None where the utilities do not vary.
        spearman: rank correlation; None where either side does not vary.
        mae: mean absolute error, in units of the utility.
    """

    count: int
    r2: float | None
    spearman: float | None
    mae: float


@dataclass(frozen=True)
class ExcessBin:
    """How well the surrogate predicts sets that are about as much worse than the whole model.

    Attributes:
        above: least cost over the whole model, in units of the utility; None for no bound.
        below: the cost that they do not reach; None for no bound.
        scores: of its held-out predictions.
        off: 95 % (or what the level is) of the predictions are off by no more than this.
        coverage: share of held-out utilities inside the intervals; None where unknown.
        half_width: median of half the intervals' widths; None where there are none.
    """

    above: float | None
    below: float | None
    scores: LearnerScores
    off: float
    coverage: float | None
    half_width: float | None


@dataclass(frozen=True)
class SurrogateEvaluation:
    """Held-out scores; every learner predicted each set without having seen it.

    Attributes:
        players: number of players.
        coalitions: number of measured sets.
        folds: of the cross-validation, the same for all learners.
        overall: scores of each learner.
        strata: scores of each learner by number of removed players.
        level: nominal level of the surrogate's intervals.
        coverage: share of held-out utilities inside them; None where there are too few.
        by_excess: the surrogate's scores by cost over the whole model.
        within: those of all sets that are near the whole model; None where none are.
    """

    players: int
    coalitions: int
    folds: int
    overall: Mapping[str, LearnerScores]
    strata: Mapping[str, Mapping[int, LearnerScores]]
    level: float
    coverage: float | None
    by_excess: tuple[ExcessBin, ...] = ()
    within: ExcessBin | None = None

    def near_sentence(self, unit: str) -> str | None:
        """Return how good predictions are near the whole model; None where no set is near.

        Args:
            unit: of the utility, for people.
        """
        if self.within is None or self.within.below is None:
            return None
        unit = unit.partition(" ")[0]
        edge = f"{self.within.below:g} {unit.removesuffix('s') if self.within.below == 1 else unit}"
        return (
            f"good to ±{self.within.off:.2g} {unit} for sets within {edge} of"
            f" the whole model ({self.level:.0%} of {self.within.scores.count} held-out sets)"
        )


@dataclass(frozen=True)
class FitRows:
    """What the surrogate was fitted to.

    Attributes:
        coalitions: rows of 1 = kept, 0 = removed.
        measured: utilities.
        out_of_fold: predictions of the same by models that had not seen them.
    """

    coalitions: tuple[tuple[int, ...], ...]
    measured: tuple[float, ...]
    out_of_fold: tuple[float, ...]


@dataclass(frozen=True)
class SurrogateFit:
    """Scores and rows of a fit.

    Attributes:
        evaluation: held-out scores.
        rows: what it was fitted to.
    """

    evaluation: SurrogateEvaluation
    rows: FitRows


SURROGATE_FIT = ResultFile(SurrogateFit, "surrogate/evaluation.json", "fit", indent=None)
