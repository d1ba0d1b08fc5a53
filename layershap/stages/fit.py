"""Stage 2: fit the surrogate to what was measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from layershap.errors import UserError
from layershap.results.surrogate_fit import (
    SURROGATE_FIT,
    ExcessBin,
    FitRows,
    LearnerScores,
    SurrogateEvaluation,
    SurrogateFit,
)
from layershap.runs.design import read_design
from layershap.runs.recorded import CALIBRATION, RecordedRun
from surrogate import (
    BASELINES,
    Evaluation,
    SurrogateGame,
    SurrogateRegressor,
    evaluate,
    load,
    save,
)
from surrogate.model.evaluation import EDGES
from surrogate.model.scores import ExcessScores

__all__ = ["Fitted", "fit", "fit_quietly", "load_fitted"]

_FEWEST = 4
SHARE_EDGES = (0.05, 0.1, 0.2)  # of utilities between 0 and 1


@dataclass(frozen=True)
class Fitted:
    """A surrogate with the rows that it was fitted to, and the model without any layer.

    Only these rows count as known in `game`, whatever else the ledger holds by now, so that a run
    that is repeated or continued goes the same way.
    """

    regressor: SurrogateRegressor
    coalitions: Bool[np.ndarray, "m n"]
    utilities: Float[np.ndarray, "m"]

    @property
    def used(self) -> Bool[np.ndarray, "m"]:
        """Rows of the fit: all with a layer."""
        return np.asarray(self.coalitions.any(axis=1))

    def game(self, players: tuple[str, ...]) -> SurrogateGame:
        """The surrogate as a game that knows its rows."""
        return SurrogateGame(self.regressor, players, measured=(self.coalitions, self.utilities))


def fit_quietly(
    run: RecordedRun,
    rows: Bool[np.ndarray, "m n"] | None = None,
    *,
    first: bool = False,
) -> Fitted:
    """Fit without scoring other learners.

    The model without any layer is left out: it is always measured, often tens of nats from all
    else, and would bend the surrogate everywhere for a point that nobody asks about.

    Args:
        run: whose measurements.
        rows: measured coalitions to fit to; all of the ledger's when omitted. Those without a
            finite utility are left out.
        first: whether a later fit follows; then there are no networks yet.
    """
    records = run.campaign(CALIBRATION).read(rows)
    known = records.coalitions[records.ok], records.utilities[records.ok]
    used = known[0].any(axis=1)
    count = int(used.sum())
    if count < _FEWEST:
        raise UserError(
            f"{count} sets with a finite loss: the surrogate needs at least "
            f"{_FEWEST}; measure more with layershap run --budget"
        )
    folds = min(5, count // 2)
    regressor = SurrogateRegressor(seed=run.config.measure.seed, folds=folds, networks=not first)
    with run.console.status(f"fitting the surrogate to {count} sets"):
        regressor.fit(known[0][used], known[1][used])
    return Fitted(regressor, *known)


def fit(run: RecordedRun, *, first: bool = False, everything: bool = False) -> Fitted:
    """Fit, score beside scikit-learn's learners on the same folds, and save.

    The design alone decides the fit, so that a run that was stopped and started again goes the
    same way, unless `everything` in the ledger is asked for.

    Args:
        run: measured.
        first: whether a fit to everything follows, as in a whole run. What searches and values
            ask of this one are sets near the whole model, where processes are as good alone: it
            leaves the networks and the other learners to that one.
        everything: whether to fit to everything in the ledger instead of the design.
    """
    rows = None if everything else read_design(run)
    fitted = fit_quietly(run, rows, first=first)
    used = fitted.used
    with run.console.status("scoring the surrogate"):
        evaluation = evaluate(
            fitted.regressor,
            fitted.coalitions[used],
            fitted.utilities[used],
            edges=EDGES if run.utility.in_nats else SHARE_EDGES,
            beside={} if first else BASELINES,
        )
    save(fitted.regressor, run.directory.surrogate)
    kept = _kept(evaluation, fitted)
    SURROGATE_FIT.write(run.directory.path, kept)
    unit = run.utility.unit.partition(" ")[0]
    if (sentence := kept.evaluation.near_sentence(run.utility.unit)) is not None:
        run.console.say(f"surrogate: {sentence}")
    for name, scores in evaluation.overall.items():
        run.console.say(
            f"{name}: held-out R² {_told(scores.r2)}, Spearman {_told(scores.spearman)}, "
            f"MAE {scores.mae:.4f} {unit}"
        )
    return fitted


def _told(score: float | None) -> str:
    return "–" if score is None else f"{score:.4f}"  # none where all sets measure the same


def load_fitted(run: RecordedRun) -> Fitted:
    """Load the saved surrogate with the rows that it was fitted to.

    Raises:
        surrogate.SurrogateNotFound: the stage has not been run.
    """
    regressor = load(run.directory.surrogate)
    rows = np.array(SURROGATE_FIT.read(run.directory.path).rows.coalitions, dtype=bool)
    nothing = np.zeros((1, rows.shape[1]), dtype=bool)
    records = run.campaign(CALIBRATION).read(np.concatenate([rows, nothing]))
    return Fitted(regressor, records.coalitions[records.ok], records.utilities[records.ok])


def _kept(evaluation: Evaluation, fitted: Fitted) -> SurrogateFit:
    """The scores and the rows behind them as they are kept."""
    rows = FitRows(
        tuple(map(tuple, fitted.coalitions[fitted.used].astype(int).tolist())),
        tuple(fitted.utilities[fitted.used].tolist()),
        tuple(fitted.regressor.out_of_fold_.tolist()),
    )
    scores = SurrogateEvaluation(
        evaluation.players,
        evaluation.coalitions,
        evaluation.folds,
        {name: LearnerScores(**vars(s)) for name, s in evaluation.overall.items()},
        {
            name: {removed: LearnerScores(**vars(s)) for removed, s in by.items()}
            for name, by in evaluation.strata.items()
        },
        evaluation.level,
        evaluation.coverage,
        tuple(map(_bin, evaluation.by_excess)),
        None if evaluation.within is None else _bin(evaluation.within),
    )
    return SurrogateFit(scores, rows)


def _bin(found: ExcessScores) -> ExcessBin:
    return ExcessBin(**{**vars(found), "scores": LearnerScores(**vars(found.scores))})
