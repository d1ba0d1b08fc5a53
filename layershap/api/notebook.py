"""What notebooks and terminals show of an opened run: one card, as HTML or as text."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from layershap.api.frames import recommendations_frame
from layershap.report.wording import fixed, percent, share, signed
from layershap.results.perplexity import rise
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.results.value_text import range_text, value_text, values_title
from layershap.results.values import VALUES, Values
from layershap.runs.command_line import run_command
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.status.run_status import standing

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Card", "run_card"]

_MOST_ROWS = 12
_TEXT_WIDTH = 110
_BOX = "border:1px solid #8886;border-radius:6px;padding:.6em 1em;max-width:60em"
_CELL = "padding:.15em .8em;text-align:right;border-bottom:1px solid #8884"


@dataclass(frozen=True)
class Card:
    """A run in short, without scripts, with styles of its own only.

    Attributes:
        title: the model.
        facts: what belongs beside it.
        sentence: where the run stands.
        columns: titles of the table; none where nothing is found yet.
        rows: its cells.
        next: what to type next.
    """

    title: str
    facts: tuple[str, ...]
    sentence: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    next: str

    @property
    def more(self) -> str:
        """What to say of rows that are not shown."""
        rest = len(self.rows) - _MOST_ROWS
        return f"and {rest} more" if rest > 0 else ""

    def html(self) -> str:
        """Return the card for notebooks; names are escaped."""
        facts = "".join(f" · {escape(fact)}" for fact in self.facts)
        parts = [f"<p><b>{escape(self.title)}</b>{facts}</p>", f"<p>{escape(self.sentence)}</p>"]
        if self.rows:
            head = "".join(
                f'<th scope="col" style="{_CELL}">{escape(c)}</th>' for c in self.columns
            )
            body = "".join(
                "<tr>" + "".join(f'<td style="{_CELL}">{escape(c)}</td>' for c in row) + "</tr>"
                for row in self.rows[:_MOST_ROWS]
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        if self.more:
            parts.append(f"<p>{self.more}</p>")
        parts.append(f"<p>Next: <code>{escape(self.next)}</code></p>")
        return f'<div style="{_BOX}">{"".join(parts)}</div>'

    def rich(self) -> RenderableType:
        """Return the card for terminals."""
        from rich.console import Group
        from rich.text import Text

        return Group(*self._lines(), Text(f"Next: {self.next}"))

    def text(self) -> str:
        """Return the card as plain text; what to type next stays on one line."""
        from rich.console import Console, Group

        stream = io.StringIO()
        console = Console(file=stream, width=_TEXT_WIDTH, color_system=None, force_jupyter=False)
        console.print(Group(*self._lines()))
        return f"{stream.getvalue().rstrip()}\nNext: {self.next}"

    def bundle(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """Return the card as IPython takes it: by MIME type, those that are asked for."""
        shown = {"text/plain": self.text(), "text/html": self.html()}
        return {
            kind: text
            for kind, text in shown.items()
            if (not include or kind in include) and kind not in (exclude or ())
        }

    def _lines(self) -> list[RenderableType]:
        """All but what to do next."""
        from rich.table import Table
        from rich.text import Text

        head = Text.assemble((self.title, "bold"), *(f" · {fact}" for fact in self.facts))
        parts: list[RenderableType] = [head, Text(self.sentence)]
        if self.rows:
            table = Table()
            for number, column in enumerate(self.columns):
                table.add_column(Text(column), justify="right" if number else "left")
            for row in self.rows[:_MOST_ROWS]:
                table.add_row(*map(Text, row))
            parts.append(table)
        if self.more:
            parts.append(Text(self.more))
        return parts


def run_card(directory: RunDirectory, config: RunConfig) -> Card:
    """Return where a run stands, with its recommendations, else its values.

    Args:
        directory: of the run.
        config: its configuration.
    """
    if not directory.ledger.exists():
        command = run_command(config, directory.path)
        facts = (str(directory.path),)
        return Card(config.title, facts, "Nothing is measured yet.", (), (), command)
    status = standing(directory)
    facts = (
        f"{len(status.players)} {config.noun}s",
        f"{status.evaluations:,} sets measured",
        str(directory.path),
    )
    columns, rows = (), ()
    if directory.recommendations.exists():
        verified = RECOMMENDATIONS.read(directory.path)
        columns, rows = _recommendations(recommendations_frame(verified))
    elif directory.values.exists():
        found = VALUES.read(directory.path)
        columns, rows = _values(found)
    return Card(config.title, facts, status.sentence, columns, rows, status.next)


def _recommendations(frame: pd.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    rows = tuple(
        (
            ", ".join(row["removed"]),
            f"{signed(row['cost'])}{_ends(row['lower'], row['upper'])}",
            f"{fixed(row['perplexity'])} ({percent(rise(row['cost']))})"
            if _real(row["cost"])
            else "–",
            f"{fixed(row['decoding'])}×" if _real(row["decoding"]) else "–",
            share(row["share"]),
            signed(row["baseline_cost"]),
        )
        for row in frame.to_dict("records")
    )
    return (
        "removed",
        "cost, nats per token (95 %)",
        "perplexity",
        "decoding",
        "saved",
        "best baseline",
    ), rows


def _values(found: Values) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    shown, of = found.headline, found.value_of
    rows = []
    for i in shown.ranking().tolist():
        ends = range_text(float(shown.lower[i]), float(shown.upper[i]), of)
        value = value_text(float(shown.values[i]), of)
        rows.append((shown.players[i], f"{value} ({ends})" if ends else value))
    title = values_title(found)
    return ("least valuable first", f"{title} (95 %)"), tuple(rows)


def _ends(lower: float, upper: float) -> str:
    if not (_real(lower) and _real(upper)):
        return ""
    return f" ({signed(lower)} to {signed(upper)})"


def _real(number: float) -> bool:
    return math.isfinite(number)
