"""The report as Markdown, for a pull request, a wiki or a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from layershap.report.data import PlayerValues, Report
from layershap.report.quality import frontier_table, rival_table, task_table, text_table
from layershap.report.shown import in_percent, value_digits
from layershap.report.summary import (
    finding_sentence,
    question_sentence,
    ranking,
    recommended,
    warnings,
    why,
)
from layershap.report.tables import (
    Cell,
    Table,
    facts,
    fit_by_excess,
    fit_overall,
    fit_strata,
    pair_table,
    recommendation_table,
)
from layershap.report.wording import fixed, interval, share, signed

__all__ = ["render_markdown"]

_MARKS = re.compile(r"([\\`*_\[\]<>|#~])")


def render_markdown(report: Report) -> str:
    """Returns the report as GitHub-flavoured Markdown, with the sentences and tables of the page.

    Args:
        report: what to write.
    """
    report = in_percent(report)
    parts = [
        f"# {_text(report.model)}: layershap report",
        *(f"**Warning: {_text(alarm)}**" for alarm in report.alarms),
        f"**Asked.** {_text(question_sentence(report))}",
        f"**Found.** {_text(finding_sentence(report))}",
        f"**Recommended.** {_text(recommended(report))}",
        *([f"**Why these.** {_text(why(report))}"] if why(report) else []),
        *_warnings(report),
        *_recommendations(report),
        *_values(report),
        *_interactions(report),
        *_surrogate(report),
        *_reproduce(report),
    ]
    return "\n\n".join(parts) + "\n"


def _warnings(report: Report) -> list[str]:
    told = warnings(report)
    return ["## Before you rely on this", _list(told)] if told else []


def _recommendations(report: Report) -> list[str]:
    if not report.recommendations:
        return []
    commands = "\n".join(item.command for item in report.recommendations)
    parts = [
        "## Recommendations",
        f"The best verified set for each number of {report.player_noun}s removed, measured on"
        " held-out text that the search never saw. The row in bold is the set put forward.",
        _table(recommendation_table(report)),
        "### Export a set",
        _code(commands, "sh"),
    ]
    if report.provenance.explore:
        parts += [
            "Any other set, tried out in the browser:",
            _code(report.provenance.explore, "sh"),
        ]
    for title, table in (
        ("Beside the published heuristics", rival_table(report)),
        ("Text by text", text_table(report)),
        ("Tasks", task_table(report)),
        ("The best measured sets of all methods", frontier_table(report)),
    ):
        if table is not None:
            parts += [f"### {title}", _table(table)]
    return parts


def _values(report: Report) -> list[str]:
    if not report.values:
        return []
    titles = [report.player_noun.capitalize(), *(panel.title for panel in report.values)]
    rows = [
        [name, *(_value(report, panel, player) for panel in report.values)]
        for player, name in enumerate(report.players)
    ]
    parts = [
        f"## What each {report.player_noun} is worth",
        f"In {_text(report.value_unit)}, with 95 % intervals.",
        *([_list(report.value_facts)] if report.value_facts else []),
        _grid(titles, rows),
        _list([f"{panel.title}: {panel.note}" for panel in report.values]),
    ]
    sure = ranking(report)
    if sure is not None:
        parts += ["### How sure the ranking is", _list(sure.sentences)]
    return parts


def _value(report: Report, panel: PlayerValues, player: int) -> str:
    estimate, digits = panel.values[player], value_digits(report)
    raw = report.value_of == "loss"
    ends = interval(estimate, digits, sign=raw)
    shown = signed(estimate.value, digits) if raw else fixed(estimate.value, digits)
    return f"{shown} ({ends})" if ends else shown


def _interactions(report: Report) -> list[str]:
    pairs = pair_table(report)
    if pairs is None:
        return []
    return [
        f"## Which {report.player_noun}s depend on each other",
        "The strongest pairs.",
        _table(pairs),
    ]


def _surrogate(report: Report) -> list[str]:
    overall, strata, fit = fit_overall(report), fit_strata(report), report.surrogate
    if overall is None or fit is None:
        return []
    parts = ["## How far to trust the surrogate"]
    if fit.near is not None:
        parts.append(f"It is {fit.near}.")
    parts += ["Held-out scores.", _table(overall)]
    if fit.coverage is not None:
        parts.append(
            f"The surrogate’s {share(fit.level, 0)} intervals held {share(fit.coverage)} of the"
            " held-out utilities."
        )
    if (near := fit_by_excess(report)) is not None:
        parts += ["### By the cost of a set", _table(near)]
    if strata is not None:
        titles = ["Removed", "Combinations"]
        titles += [f"{name}: {s}" for name in strata.learners for s in ("R²", "Spearman", "MAE")]
        rows = [[cell.main for cell in row.cells] for row in strata.rows]
        parts += ["### By number removed", _grid(titles, rows)]
    return parts


def _reproduce(report: Report) -> list[str]:
    known = [f"{name}: {fact}" for name, fact in facts(report) if fact]
    return [
        "## How to reproduce",
        _code(report.provenance.command, "sh"),
        _list(known),
        "### run.toml",
        _code(report.provenance.config.rstrip("\n"), "toml"),
    ]


def _table(table: Table) -> str:
    chosen = [row.chosen for row in table.rows]
    titles = [f"{title}, {note}" if note else title for title, note in table.titles]
    rows = [[_cell(cell) for cell in row.cells] for row in table.rows]
    return _grid(titles, rows, chosen)


def _cell(cell: Cell) -> str:
    main = ", ".join(cell.players) if cell.players else cell.main
    return f"{main} ({cell.detail})" if cell.detail else main


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]], bold: Sequence[bool] = ()) -> str:
    lines = [_line([_text(title) for title in titles]), _line(["---", *["---:"] * len(titles[1:])])]
    for place, row in enumerate(rows):
        cells = [_text(cell) for cell in row]
        if bold and bold[place]:
            cells = [f"**{cell}**" if cell else cell for cell in cells]
        lines.append(_line(cells))
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {_text(sentence)}" for sentence in sentences)


def _code(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _text(text: str) -> str:
    """Names and sentences as they are: none can open markup, end a cell or break a line."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))
