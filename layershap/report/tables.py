"""The tables of the report, as rows of finished strings."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from layershap.report.data import Dense, FitScore, Report
from layershap.report.sets import Recommendation
from layershap.report.shown import value_digits
from layershap.report.summary import headline
from layershap.report.wording import (
    count,
    duration,
    fixed,
    interval,
    percent,
    ratio,
    share,
    signed,
    sizes,
)
from layershap.results.estimate import Estimate
from layershap.results.perplexity import rise

__all__ = [
    "Cell",
    "FitTable",
    "Row",
    "Table",
    "facts",
    "fit_by_excess",
    "fit_overall",
    "fit_strata",
    "key_figures",
    "pair_table",
    "recommendation_table",
    "set_names",
]

EMPTY = "–"


@dataclass(frozen=True)
class Cell:
    """One cell: a figure, a smaller line below it, and whether it stands out.

    Attributes:
        main: the figure.
        detail: the line below.
        players: names shown as chips instead of a figure.
        best: whether it is the best of its row.
        wrap: whether the line below may be broken.
    """

    main: str = ""
    detail: str = ""
    players: tuple[str, ...] = ()
    best: bool = False
    wrap: bool = False


@dataclass(frozen=True)
class Row:
    """One row; ``chosen`` marks the set put forward."""

    cells: tuple[Cell, ...]
    chosen: bool = False


@dataclass(frozen=True)
class Table:
    """Column titles, their units or notes, and rows."""

    titles: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class FitTable:
    """Scores by number removed: learners, then ``(removed, count, cells)`` rows."""

    learners: tuple[str, ...]
    rows: tuple[Row, ...]


def key_figures(report: Report) -> list[tuple[str, str]]:
    """Returns the figures of the set put forward, as ``(figure, name)``."""
    item = headline(report)
    if item is None or report.dense is None:
        return []
    found = [
        (f"{item.size} of {len(report.players)}", f"{report.player_noun}s removed"),
        (percent(rise(item.difference.value)), "held-out perplexity"),
        (share(item.parameters_saved / max(1, report.dense.parameters), 0), "parameters saved"),
    ]
    if item.decoding is not None:
        found.append((ratio(item.decoding), "decoding speed"))
    if item.prefill is not None:
        found.append((ratio(item.prefill), "prefill speed"))
    return found


def recommendation_table(report: Report) -> Table:
    """Returns one row for each number removed: what the best verified set costs and brings."""
    dense = report.dense or Dense(math.nan, 0)
    items = report.recommendations
    chosen = headline(report)
    columns: list[tuple[tuple[str, str], list[Cell]]] = [
        (("Removed", ""), [Cell(str(item.size)) for item in items]),
        (
            (f"{report.player_noun.capitalize()}s", ""),
            [Cell(players=set_names(report, item.removed, item.zeroed)) for item in items],
        ),
        (("Cost", "nats per token"), [_difference(item.difference) for item in items]),
        (("Perplexity", f"whole: {fixed(math.exp(min(700.0, dense.nll)))}"),
         [_perplexity(dense.nll, item) for item in items]),
    ]  # fmt: skip
    if any(item.repaired is not None for item in items):
        cells = [_repaired(item) for item in items]
        columns.insert(3, (("Repaired", "nats per token"), cells))
    if any(item.against is not None for item in items):
        cells = [_against(item) for item in items]
        columns.append((("Against the best", "heuristic of the size"), cells))
    if any(item.top1 is not None for item in items):
        cells = [Cell(share(item.top1), f"KL {fixed(item.kl, 3)}") for item in items]
        columns.append((("Agreement", "top-1; KL in nats"), cells))
    columns.append((("Parameters", "saved"), [_saved(dense.parameters, item) for item in items]))
    for title, whole, ratios in (
        ("Prefill", dense.prefill, [item.prefill for item in items]),
        ("Decoding", dense.decoding, [item.decoding for item in items]),
    ):
        if any(value is not None for value in ratios):
            pace = f"of {count(round(whole.value))} tok/s" if whole else "ratio to whole"
            columns.append(((title, pace), [_speed(value) for value in ratios]))
    return Table(
        tuple(title for title, _ in columns),
        tuple(
            Row(tuple(cells[index] for _, cells in columns), item is chosen)
            for index, item in enumerate(items)
        ),
    )


def fit_overall(report: Report) -> Table | None:
    """Returns the held-out scores of every learner over all coalitions."""
    scores = [x for x in report.surrogate.scores if x.removed is None] if report.surrogate else []
    if not scores:
        return None
    columns = [[score.r2 for score in scores], [score.spearman for score in scores]]
    best = [max((x for x in column if x is not None), default=None) for column in columns]
    least = min(score.mae for score in scores)
    rows = [
        Row(
            (
                Cell(score.learner),
                Cell(fixed(score.r2, 3), best=score.r2 is not None and score.r2 == best[0]),
                Cell(
                    fixed(score.spearman, 3),
                    best=score.spearman is not None and score.spearman == best[1],
                ),
                Cell(fixed(score.mae, 4), best=score.mae == least),
            )
        )
        for score in scores
    ]
    titles = (("Learner", ""), ("R²", ""), ("Spearman", ""), ("MAE", report.unit))
    return Table(titles, tuple(rows))


def fit_by_excess(report: Report) -> Table | None:
    """Returns how good the surrogate is by how much a set costs."""
    bins = report.surrogate.by_excess if report.surrogate else ()
    if not bins:
        return None
    rows = [
        Row(
            (
                Cell(_between(part.above, part.below)),
                Cell(count(part.scores.count)),
                Cell(fixed(part.scores.mae, 3)),
                Cell(fixed(part.scores.r2, 3)),
                Cell(EMPTY if part.coverage is None else share(part.coverage)),
                Cell(EMPTY if part.half_width is None else f"±{fixed(part.half_width, 3)}"),
            )
        )
        for part in bins
    ]
    titles = (
        ("Cost of the set", report.unit),
        ("Sets", ""),
        ("MAE", report.unit),
        ("R²", ""),
        ("In the interval", ""),
        ("Interval", "median"),
    )
    return Table(titles, tuple(rows))


def _between(above: float | None, below: float | None) -> str:
    if above is None:
        return f"below {below:g}"
    return f"{above:g} and more" if below is None else f"{above:g} to {below:g}"


def fit_strata(report: Report) -> FitTable | None:
    """Returns the held-out scores by number removed: R², Spearman and MAE of each learner."""
    scores = (
        [x for x in report.surrogate.scores if x.removed is not None] if report.surrogate else []
    )
    if not scores:
        return None
    learners = tuple(dict.fromkeys(score.learner for score in scores))
    table: dict[int, dict[str, FitScore]] = {}
    for score in scores:
        table.setdefault(score.removed or 0, {})[score.learner] = score
    rows = []
    for removed, found in sorted(table.items()):
        cells = [Cell(str(removed)), Cell(count(next(iter(found.values())).count))]
        for name in learners:
            score = found.get(name)
            cells += (
                [Cell(EMPTY)] * 3
                if score is None
                else [
                    Cell(fixed(score.r2)),
                    Cell(fixed(score.spearman)),
                    Cell(fixed(score.mae, 3)),
                ]
            )
        rows.append(Row(tuple(cells)))
    return FitTable(learners, tuple(rows))


def pair_table(report: Report, most: int = 8) -> Table | None:
    """Returns the pairs that interact most, strongest first; None without interactions."""
    matrix = report.interactions
    if matrix is None:
        return None
    pairs = [
        (matrix[i][j], j, i)
        for i in range(len(matrix))
        for j in range(i)
        if math.isfinite(matrix[i][j]) and matrix[i][j] != 0
    ]
    if not pairs:
        return None
    strongest = sorted(pairs, key=lambda pair: -abs(pair[0]))[:most]
    rows = [
        Row(
            (
                Cell(players=set_names(report, (a, b))),
                Cell(signed(value, value_digits(report))),
                Cell("more than the sum" if value < 0 else "less than the sum"),
            )
        )
        for value, a, b in strongest
    ]
    titles = (("Pair", ""), ("Interaction", report.value_unit), ("Removing both", "costs"))
    return Table(titles, tuple(rows))


def facts(report: Report) -> list[tuple[str, str]]:
    """Returns what was run on what, as ``(name, fact)``."""
    origin, held_out = report.provenance, report.held_out
    found = [
        ("Model", report.model),
        ("Players", f"{len(report.players)} {report.player_noun}s"),
        ("Parameters", "" if report.dense is None else sizes(report.dense.parameters)),
        ("Calibration", f"{report.calibration.name}, {count(report.calibration.tokens)} tokens"),
        (
            "Held out",
            "" if held_out is None else f"{held_out.name}, {count(held_out.tokens)} tokens",
        ),
        ("Measured", f"{count(report.spent)} of {count(report.budget)} combinations"),
        ("Cost", _cost(report)),
        ("Wall time", duration(origin.seconds)),
        ("Device", origin.device),
        ("Seed", str(origin.seed)),
        ("Fingerprint", origin.fingerprint),
        ("Date", origin.date),
        ("Versions", ", ".join(f"{name} {version}" for name, version in origin.versions)),
    ]
    return [(name, fact) for name, fact in found if fact or name == "Cost"]


def _cost(report: Report) -> str:
    cost = report.cost
    if cost is None:
        return ""
    tokens = "" if cost.tokens is None else f" of {sizes(cost.tokens)} tokens"
    return (
        f"{count(cost.evaluations)} evaluations{tokens}, {duration(cost.worker_seconds)} of"
        " workers' time"
    )


def set_names(
    report: Report, removed: Sequence[int], zeroed: Collection[str] = ()
) -> tuple[str, ...]:
    """Returns the names of removed players; halves that an export only makes zero say so."""
    names = (report.players[player] for player in removed)
    return tuple(f"{name} zeroed" if name in zeroed else name for name in names)


def _against(item: Recommendation) -> Cell:
    found = item.against
    if found is None:
        return Cell(EMPTY)
    if found.removed == item.removed and found.difference.value == 0:
        return Cell("same set", found.method, wrap=True)
    ends = interval(found.difference)
    detail = f"{found.method}, {ends}" if ends else found.method
    return Cell(signed(found.difference.value), detail, wrap=True)


def _difference(estimate: Estimate) -> Cell:
    return Cell(signed(estimate.value), interval(estimate))


def _repaired(item: Recommendation) -> Cell:
    return Cell("–") if item.repaired is None else _difference(item.repaired)


def _perplexity(nll: float, item: Recommendation) -> Cell:
    after = math.exp(min(700.0, nll + item.difference.value))
    return Cell(fixed(after), percent(rise(item.difference.value)))


def _saved(whole: int, item: Recommendation) -> Cell:
    return Cell(sizes(item.parameters_saved), share(item.parameters_saved / max(1, whole)))


def _speed(estimate: Estimate | None) -> Cell:
    return Cell(ratio(estimate), interval(estimate, 2, sign=False))
