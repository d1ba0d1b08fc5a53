"""The report as JSON values: the sentences that people read, and every number behind them."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from layershap.report.data import Report
from layershap.report.summary import (
    finding_sentence,
    headline,
    question_sentence,
    ranking,
    recommended,
    warnings,
    why,
)

__all__ = ["SCHEMA", "render_json", "to_plain"]

SCHEMA = 1


def to_plain(report: Report) -> dict[str, Any]:
    """Returns the report as values that JSON can hold.

    Beside the fields of :class:`layershap.report.Report` it has `schema`, `sentences` (asked,
    found, recommended, why), `concerns` (all warnings), `chosen` (the size of the set put forward)
    and `sureness` (of the ranking). Values that are shares stay shares. Players are indices into
    `players`. What is not finite is null.

    Args:
        report: what to write.
    """
    item, sure = headline(report), ranking(report)
    return {
        "schema": SCHEMA,
        "sentences": {
            "asked": question_sentence(report),
            "found": finding_sentence(report),
            "recommended": recommended(report),
            "why": why(report),
        },
        **_plain(report),
        "concerns": warnings(report),
        "chosen": None if item is None else item.size,
        "sureness": [] if sure is None else list(sure.sentences),
    }


def render_json(report: Report) -> str:
    """Returns the report as one JSON object."""
    return json.dumps(to_plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(entry) for entry in value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
