"""What a notebook shows of an opened run: one card, without scripts, styles of its own only."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from layershap.report.wording import fixed, percent, rise, share, signed

if TYPE_CHECKING:
    from layershap.opened import OpenedRun

__all__ = ["run_html"]

_MOST_ROWS = 12
_CARD = "border:1px solid #8886;border-radius:6px;padding:.6em 1em;max-width:60em"
_CELL = "padding:.15em .8em;text-align:right;border-bottom:1px solid #8884"


def run_html(run: OpenedRun) -> str:
    """Returns a card: where the run stands, its recommendations, else its values."""
    standing = run.status
    head = (
        f"<b>{escape(run.config.title)}</b> · {len(standing.players)} {escape(run.config.noun)}s ·"
        f" {standing.evaluations:,} of {standing.budget:,} evaluations ·"
        f" <code>{escape(str(run.path))}</code>"
    )
    parts = [f"<p>{head}</p>", f"<p>{escape(standing.sentence)}</p>"]
    if run.directory.recommendations.exists():
        parts.append(_recommendations(run.recommendations))
    elif run.directory.values.exists():
        parts.append(_values(run.values, run.unit))
    parts.append(f"<p>Next: <code>{escape(standing.next)}</code></p>")
    return f'<div style="{_CARD}">{"".join(parts)}</div>'


def _recommendations(frame: pd.DataFrame) -> str:
    rows = [
        [
            ", ".join(row["removed"]),
            f"{signed(row['cost'])}{_ends(row['lower'], row['upper'])}",
            f"{fixed(row['perplexity'])} ({percent(rise(row['cost']))})"
            if _real(row["cost"])
            else "–",
            f"{fixed(row['decoding'])}×" if _real(row["decoding"]) else "–",
            share(row["share"]),
            signed(row["baseline_cost"]),
        ]
        for row in frame.to_dict("records")
    ]
    titles = ["removed", "cost, nats per token (95 %)", "perplexity", "decoding", "saved",
              "best baseline"]  # fmt: skip
    return _table(titles, rows)


def _values(frame: pd.DataFrame, unit: str) -> str:
    rows = [
        [str(row["player"]), f"{signed(row['value'])}{_ends(row['lower'], row['upper'])}"]
        for row in frame.sort_values("rank").reset_index().to_dict("records")
    ]
    return _table(["least valuable first", f"value, {unit} (95 %)"], rows)


def _table(titles: list[str], rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col" style="{_CELL}">{escape(title)}</th>' for title in titles)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows[:_MOST_ROWS]
    )
    more = len(rows) - _MOST_ROWS
    rest = f"<p>and {more} more</p>" if more > 0 else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def _ends(lower: float, upper: float) -> str:
    if not (_real(lower) and _real(upper)):
        return ""
    return f" ({signed(lower)} to {signed(upper)})"


def _real(number: float) -> bool:
    return math.isfinite(number)
