"""Asking a run about sets: the surrogate, or the real model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from layershap.api.answering import Answerer, measured_in
from layershap.api.answers import Measurement, Prediction
from layershap.api.ledger import RunLedger, Text
from layershap.errors import UserError
from layershap.results.set_text import typed
from layershap.runs.directory import RunDirectory
from layershap.runs.utilities import parse_utilities
from shapley.uncertainty.paired import paired_interval

if TYPE_CHECKING:
    from surrogate import SurrogateRegressor

__all__ = ["load_surrogate", "measure_sets", "predict_sets"]


def load_surrogate(directory: RunDirectory) -> SurrogateRegressor:
    """Load the fitted surrogate of a run.

    Args:
        directory: of the run.

    Raises:
        UserError: nothing was fitted yet; the message names the command to run.
    """
    from surrogate import SurrogateNotFound, load

    try:
        return load(directory.surrogate)
    except SurrogateNotFound:
        raise UserError(
            f"{directory.surrogate}: not there yet; run {typed('fit', directory.path)} first"
        ) from None


def predict_sets(
    ledger: RunLedger, regressor: SurrogateRegressor, rows: Bool[np.ndarray, "B n"], level: float
) -> list[Prediction]:
    """Predict what the model measures of sets on the calibration text.

    Args:
        ledger: what was measured.
        regressor: the fitted surrogate.
        rows: the sets, True = kept.
        level: of the prediction intervals.

    Raises:
        UserError: nothing was measured.
    """
    with ledger.campaign() as campaign:
        name = campaign.utility
        sign = campaign.column(name).sign
        unit = parse_utilities(ledger.config.utilities)[0].unit
        lookup = measured_in(campaign)
        answerer = Answerer(regressor, lookup, campaign.players, name, unit, sign)
        answers = answerer.answers(rows, level)
    return [answerer.prediction(row, answers, place, level) for place, row in enumerate(rows)]


def measure_sets(
    ledger: RunLedger, rows: Bool[np.ndarray, "B n"], text: Text, *, progress: bool
) -> list[Measurement]:
    """Measure sets on the real model; what the ledger has already is not measured again.

    Args:
        ledger: what was measured so far.
        rows: the sets, True = kept.
        text: what to measure them on.
        progress: whether to show progress on standard error.

    Raises:
        UserError: nothing was measured in this run before.
        cluster.LedgerLocked: another process is measuring in this directory.
    """
    players = np.array(ledger.players, dtype=object)
    rows = np.concatenate([np.ones((1, len(players)), dtype=bool), rows])
    if not ledger.has(text, rows):
        from layershap.runs.workspace import open_workspace
        from layershap.terminal.console import Console

        console = Console(quiet=not progress)
        with open_workspace(ledger.config, ledger.directory, console) as work:
            work.measure(text, rows, "measuring")
    with ledger.campaign(text) as campaign:
        records = campaign.read(rows)
    sign = campaign.column(campaign.utility).sign
    vectors, weights = records.vectors, records.weights.astype(np.float64)
    scored = weights > 0  # numbers of weight 0 may be anything
    found = []
    for place in range(1, len(rows)):
        cost = paired_interval((vectors[0] - vectors[place])[scored], weights[scored])
        found.append(
            Measurement(
                removed=tuple(players[~rows[place]]),
                value=sign * float(records.utilities[place]),
                dense=sign * float(records.utilities[0]),
                cost=cost[0],
                lower=cost[1],
                upper=cost[2],
                metric=campaign.utility,
                unit=ledger.unit_of(campaign.utility),
                text=text,
            )
        )
    return found
