"""What a report tells of a run's values: panels, sentences and the reasons of the sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cluster import Ledger
from layershap.report import PlayerValues
from layershap.results.estimate import Estimate
from layershap.results.recommendations import VerifiedVariant
from layershap.results.value_text import error_text, explanation
from layershap.results.values import VALUES, Values
from layershap.results.why_set import MeasuredCosts, SetReason, why_set
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.recorded import CALIBRATION, RecordedRun
from layershap.runs.utilities import parse_utilities
from shapley import Status
from shapley import Values as PlayerWorth
from shapley.values import NORMAL_975

__all__ = ["facts", "panels", "reasons", "set_reason", "text_warning"]


def panels(values: Values) -> tuple[PlayerValues, ...]:
    """Returns the values as a report's panels, those that are shown first before the others."""
    shapley, restricted, r = values.shapley, values.restricted, values.restricted_to
    kind = {"retention": "retention", "share": "share of the score", "loss": ""}[values.value_of]
    behind = "" if restricted.status is Status.EXACT else " They are the surrogate's own."
    both = (
        PlayerValues(
            f"Shapley value{f' of {kind}' if kind else ''}",
            shapley.status.value,
            _estimates(shapley),
            _with_text(shapley, values.shapley_text_standard_errors),
        ),
        PlayerValues(
            f"{_sentence(kind or 'value').rstrip('.')} with at most {r} removed",
            "The mean contribution to nearly whole models, the ones that pruning leaves." + behind,
            _estimates(restricted),
        ),
    )
    return both if values.at_most is None else both[::-1]


def facts(values: Values, noun: str) -> tuple[str, ...]:
    """Returns what the values mean and add up to, a sentence each; nothing for the raw loss."""
    return tuple(map(_sentence, explanation(values, noun)))


def reasons(run: RecordedRun, items: Sequence[VerifiedVariant]) -> list[str]:
    """Returns why each verified set was chosen, a sentence; empty without values.

    Args:
        run: whose.
        items: its verified sets.
    """
    values = VALUES.found(run.directory.path)
    if values is None:
        return [""] * len(items)
    records = run.campaign(CALIBRATION).read()
    costs = MeasuredCosts(records.coalitions, records.utilities)
    unit, noun = run.utility.unit, run.config.noun
    return [why_set(values, item.removed, costs, unit, noun).sentence for item in items]


def set_reason(
    directory: RunDirectory, config: RunConfig, removed: Sequence[int]
) -> SetReason | None:
    """Returns why a set was chosen, from what a run directory holds; None without values.

    Args:
        directory: of the run; it is only read.
        config: of the run.
        removed: players of the set.
    """
    values = VALUES.found(directory.path)
    if values is None or not directory.ledger.exists():
        return None
    with Ledger(directory.ledger, readonly=True) as ledger:
        records = ledger.campaign(CALIBRATION).read()
    costs = MeasuredCosts(records.coalitions, records.utilities)
    unit = parse_utilities(config.utilities)[0].unit
    return why_set(values, removed, costs, unit, config.noun)


def text_warning(values: Values) -> list[str]:
    """Returns by how much other text would move the values, one sentence; none if not known."""
    errors = values.shapley_text_standard_errors
    if errors is None:
        return []
    spread = float(np.median(np.array(errors, dtype=float)))
    return [
        "Other calibration text of this kind would move a value by about "
        f"{error_text(spread, values.value_of, values.unit)} (median standard error over "
        "sequences); intervals for text of this kind hold it."
    ]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _estimates(values: PlayerWorth) -> tuple[Estimate, ...]:
    columns = (values.values, values.lower, values.upper)
    return tuple(Estimate(*map(float, row)) for row in zip(*columns, strict=True))


def _with_text(
    shapley: PlayerWorth, text_errors: Sequence[float | None] | None
) -> tuple[Estimate, ...]:
    """The values with intervals that hold the sampling's and the text's uncertainty."""
    if text_errors is None:
        return ()
    own = np.where(np.isfinite(shapley.standard_errors), shapley.standard_errors, 0.0)
    text = NORMAL_975 * np.array(text_errors, dtype=float)
    half = np.sqrt((shapley.quantile * own) ** 2 + text**2)
    ends = zip(shapley.values, shapley.values - half, shapley.values + half, strict=True)
    return tuple(Estimate(*map(float, row)) for row in ends)
