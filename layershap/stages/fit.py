"""Stage 2: fit the surrogate to what was measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from layershap.errors import UserError
from layershap.runs.directory import RunDirectory, write_whole
from layershap.runs.workspace import CALIBRATION, Workspace
from layershap.stages.design import read_design
from surrogate import Evaluation, SurrogateGame, SurrogateRegressor, evaluate, load, save

__all__ = ["Fitted", "fit", "fit_quietly", "load_fitted", "read_evaluation"]

_EVALUATION = "evaluation.json"
_FEWEST = 4


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


def fit_quietly(work: Workspace, rows: Bool[np.ndarray, "m n"] | None = None) -> Fitted:
    """Fit without scoring the baselines: what a search does between its rounds.

    The model without any layer is left out: it is always measured, often tens of nats from all
    else, and would bend the surrogate everywhere for a point that nobody asks about.

    Args:
        work: the run.
        rows: measured coalitions to fit to; all of the ledger's when omitted. Those without a
            finite utility are left out.
    """
    records = work.campaign(CALIBRATION).read(rows)
    known = records.coalitions[records.ok], records.utilities[records.ok]
    used = known[0].any(axis=1)
    count = int(used.sum())
    if count < _FEWEST:
        raise UserError(
            f"{count} sets with a finite loss: the surrogate needs at least "
            f"{_FEWEST}; measure more with layershap run --budget"
        )
    folds = min(5, count // 2)
    regressor = SurrogateRegressor(seed=work.config.measure.seed, folds=folds)
    with work.console.status(f"fitting the surrogate to {count} sets"):
        regressor.fit(known[0][used], known[1][used])
    return Fitted(regressor, *known)


def fit(work: Workspace, *, everything: bool = False) -> Fitted:
    """Fit, score beside scikit-learn's learners on the same folds, and save.

    The design alone decides the fit, so that a run that was stopped and started again goes the
    same way, unless `everything` in the ledger is asked for.
    """
    rows = None if everything else read_design(work)
    fitted = fit_quietly(work, rows)
    used = fitted.used
    with work.console.status("scoring the surrogate beside other learners"):
        evaluation = evaluate(fitted.regressor, fitted.coalitions[used], fitted.utilities[used])
    save(fitted.regressor, work.directory.surrogate)
    _write_evaluation(work.directory, evaluation, fitted)
    for name, scores in evaluation.overall.items():
        work.console.say(
            f"{name}: held-out R² {scores.r2:.4f}, Spearman {scores.spearman:.4f}, "
            f"MAE {scores.mae:.4f} {work.utility.unit.partition(' ')[0]}"
        )
    return fitted


def load_fitted(work: Workspace) -> Fitted:
    """The saved surrogate.

    Raises:
        surrogate.SurrogateNotFound: the stage has not been run.
    """
    regressor = load(work.directory.surrogate)
    rows = read_evaluation(work.directory)[1]["coalitions"]
    nothing = np.zeros((1, rows.shape[1]), dtype=bool)
    records = work.campaign(CALIBRATION).read(np.concatenate([rows, nothing]))
    return Fitted(regressor, records.coalitions[records.ok], records.utilities[records.ok])


def read_evaluation(directory: RunDirectory) -> tuple[Evaluation, dict[str, np.ndarray]]:
    """Held-out scores, and the coalitions, measured and out-of-fold utilities behind them."""
    content = directory.read_json(directory.surrogate / _EVALUATION, "fit")
    arrays = {name: np.array(rows) for name, rows in content["rows"].items()}
    arrays["coalitions"] = arrays["coalitions"].astype(bool)
    return Evaluation.from_dict(content["evaluation"]), arrays


def _write_evaluation(directory: RunDirectory, evaluation: Evaluation, fitted: Fitted) -> None:
    rows: dict[str, Any] = {
        "coalitions": fitted.coalitions[fitted.used].astype(int).tolist(),
        "measured": fitted.utilities[fitted.used].tolist(),
        "out_of_fold": fitted.regressor.out_of_fold_.tolist(),
    }
    content = {"evaluation": evaluation.to_dict(), "rows": rows}
    write_whole(directory.surrogate / _EVALUATION, json.dumps(content) + "\n")
