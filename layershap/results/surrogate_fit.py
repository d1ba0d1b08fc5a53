"""Held-out quality of a run's surrogate: `surrogate/evaluation.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from layershap.results.result_file import ResultFile

__all__ = ["SURROGATE_FIT", "FitRows", "LearnerScores", "SurrogateEvaluation", "SurrogateFit"]


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
    """

    players: int
    coalitions: int
    folds: int
    overall: Mapping[str, LearnerScores]
    strata: Mapping[str, Mapping[int, LearnerScores]]
    level: float
    coverage: float | None


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
