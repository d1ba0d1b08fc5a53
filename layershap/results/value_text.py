"""Values as a person reads them: shares in percent, losses in nats."""

from __future__ import annotations

import math

from layershap.results.values import ValueOf, Values

__all__ = [
    "SHARE_UNIT",
    "error_text",
    "explanation",
    "percent_text",
    "range_text",
    "value_text",
    "values_title",
]

SHARE_UNIT = "share of the whole model"
"""What retention values are counted in; people read them in percent."""
NONE = "–"


def value_text(value: float, value_of: ValueOf) -> str:
    """Return a value, such as 2.1 % of the whole model or +0.123 nats; a dash for none.

    Args:
        value: a share, or nats.
        value_of: which of them.
    """
    if not math.isfinite(value):
        return NONE
    return f"{value:+.3f}" if value_of == "loss" else f"{percent_text(value)} %"


def range_text(lower: float, upper: float, value_of: ValueOf) -> str:
    """Return both ends of an interval, such as 1.9 to 2.3 %; nothing where there is none."""
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return ""
    if value_of == "loss":
        return f"{lower:+.3f} to {upper:+.3f}"
    return f"{percent_text(lower)} to {percent_text(upper)} %"


def error_text(error: float, value_of: ValueOf, unit: str) -> str:
    """Return a standard error: of shares in percentage points.

    Args:
        error: in units of the values.
        value_of: what those are of.
        unit: what a raw loss is counted in.
    """
    if value_of == "loss":
        return f"{error:.4f} {unit}"
    return f"{100 * error:.2g} percentage points"


def values_title(values: Values) -> str:
    """Return what the values that are shown first are called, nats with their unit."""
    what = {"retention": " of retention", "share": " of the score", "loss": ""}[values.value_of]
    unit = f", {values.unit}" if values.value_of == "loss" else ""
    if values.at_most is None:
        return f"Shapley values{what}{unit}"
    return f"Values{what} with at most {values.at_most} removed{unit}"


def explanation(values: Values, noun: str) -> list[str]:
    """Return what retention or a share is, and what adds up to what; nothing for the raw loss.

    Args:
        values: of a run.
        noun: what a player is called.
    """
    if values.value_of == "loss":
        return []
    told = [_meaning(values)]
    total = float(values.headline.values.sum())
    if values.at_most is None:
        told.append(
            f"the shares add up to {percent_text(total)} %: 100 % minus the "
            f"{percent_text(1 - total)} % that the model without any {noun} keeps"
        )
    if values.better_sets:
        count = values.better_sets
        some = "one measured set is" if count == 1 else f"{count:,} measured sets are"
        told.append(
            f"{some} better than the whole model on this text, and so above 100 %; a {noun} of "
            "value below 0 does harm there"
        )
    return told


def _meaning(values: Values) -> str:
    if values.value_of == "share":
        return f"a share is the {values.utility} of a set as a part of the whole model's"
    if values.utility.endswith(".margin"):
        return (
            "retention is exp(margin - margin of the whole model), a ratio of the odds of the "
            "right answer: 100 % for the whole model"
        )
    name = values.utility.upper()
    ends = "100 % for the whole model, 0 % for noise"
    return f"retention is exp(-({name} - {name} of the whole model)): {ends}"


def percent_text(share: float) -> str:
    """Return a share in percent, with a digit more where it is small."""
    percent = 100 * share
    text = f"{percent:.1f}" if abs(percent) >= 0.995 else f"{percent:.2f}"
    return text.removeprefix("-") if float(text) == 0 else text
