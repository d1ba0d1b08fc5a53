"""Tables of verified sets beyond one text's cost: the frontier, single texts, tasks, rivals."""

from __future__ import annotations

import math
from collections.abc import Mapping

from layershap.report.data import Report
from layershap.report.sets import BaselineSet, Recommendation
from layershap.report.summary import headline
from layershap.report.tables import EMPTY, Cell, Row, Table, set_names
from layershap.report.wording import fixed, interval, joined, ratio, share, signed, sizes
from layershap.results.estimate import Estimate
from layershap.results.frontier import AXES, WHOLE, Axis, FrontierPoint

__all__ = ["frontier_table", "rival_table", "task_table", "text_table"]


def frontier_table(report: Report) -> Table | None:
    """Returns the sets of all methods that no other set beats on some axis; None without any."""
    best: dict[tuple[tuple[int, ...], bool], list[FrontierPoint]] = {}
    for point in report.frontier:
        if point.on_frontier and point.method != WHOLE:
            best.setdefault((point.removed, point.merged), []).append(point)
    if not best:
        return None
    found = sorted(best.values(), key=lambda points: (points[0].count, points[0].loss.value))
    chosen = headline(report)
    names: dict[Axis, str] = {
        axis: name if axis != "count" else f"{report.player_noun}s removed"
        for axis, name in AXES.items()
        if any(point.gain(axis) is not None for point in report.frontier)
    }
    columns: list[tuple[tuple[str, str], list[Cell]]] = [
        (("Removed", ""), [Cell(str(points[0].count)) for points in found]),
        (
            (f"{report.player_noun.capitalize()}s", ""),
            [Cell(players=set_names(report, ps[0].removed, ps[0].zeroed)) for ps in found],
        ),
        (("Cost", "nats per token"), [_estimate(points[0].loss) for points in found]),
        (
            ("Parameters", "that remain"),
            [Cell(sizes(ps[0].parameters), share(ps[0].parameter_share)) for ps in found],
        ),
    ]
    for title, speeds in (
        ("Decoding", [points[0].decode for points in found]),
        ("Prefill", [points[0].prefill for points in found]),
    ):
        if any(speed is not None for speed in speeds):
            cells = [Cell(ratio(speed), interval(speed, 2, sign=False)) for speed in speeds]
            columns.append(((title, "ratio to whole"), cells))
    if any(points[0].memory is not None for points in found):
        cells = [Cell(_bytes(points[0].memory)) for points in found]
        columns.append((("Memory", "peak"), cells))
    columns.append(
        (
            ("Found by", "beaten by none on"),
            [Cell(_finders(ps), _axes(ps[0], names)) for ps in found],
        )
    )
    return Table(
        tuple(title for title, _ in columns),
        tuple(
            Row(
                tuple(cells[row] for _, cells in columns),
                chosen is not None and points[0].removed == chosen.removed and not points[0].merged,
            )
            for row, points in enumerate(found)
        ),
    )


def rival_table(report: Report) -> Table | None:
    """Returns one row a method and one column a size; None without heuristics."""
    items = report.recommendations
    methods = list(dict.fromkeys(r.method for item in items for r in item.rivals))
    if not methods:
        return None
    by_size = [{rival.method: rival for rival in item.rivals} for item in items]
    least = [_least(item) for item in items]
    own = [_cost(report, x, b) for x, b in zip(items, least, strict=True)]
    rows = [Row((Cell("layershap"), *own), chosen=True)]
    for name in methods:
        cells = [
            _cost(report, by[name], best) if name in by else Cell(EMPTY)
            for by, best in zip(by_size, least, strict=True)
        ]
        rows.append(Row((Cell(name), *cells)))
    titles = [("Method", ""), *((f"{item.size} removed", "") for item in items)]
    return Table(tuple(titles), tuple(rows))


def text_table(report: Report) -> Table | None:
    """Returns the cost on each of several held-out texts; None with a single one."""
    items = report.recommendations
    names = list(dict.fromkeys(text.name for item in items for text in item.texts))
    if len(names) < 2:
        return None
    tokens = {text.name: text.tokens for item in items for text in item.texts}
    rows = []
    for item in items:
        by = {text.name: text.difference for text in item.texts}
        cells = [_estimate(by[name]) if name in by else Cell(EMPTY) for name in names]
        rows.append(Row((*_heading(report, item), _estimate(item.difference), *cells)))
    titles = [("Removed", ""), (f"{report.player_noun.capitalize()}s", ""), ("Together", "")]
    titles += [(name, f"{tokens[name]:,} tokens") for name in names]
    return Table(tuple(titles), tuple(rows))


def task_table(report: Report) -> Table | None:
    """Returns the scores on held-out items of tasks; None without tasks."""
    items = report.recommendations
    metrics = list(dict.fromkeys(task.metric for item in items for task in item.tasks))
    if not metrics:
        return None
    rows = []
    for item in items:
        by = {task.metric: task for task in item.tasks}
        cells = []
        for metric in metrics:
            if metric not in by:
                cells.append(Cell(EMPTY))
                continue
            value, change = by[metric].value, by[metric].difference
            if _accuracy(metric):
                value, change = 100 * value, _percent(change)
            digits = 1 if _accuracy(metric) else 3
            ends = interval(change, digits)
            detail = f"{signed(change.value, digits)}{f' ({ends})' if ends else ''}"
            cells.append(Cell(fixed(value, digits), detail))
        rows.append(Row((*_heading(report, item), *cells)))
    titles = [("Removed", ""), (f"{report.player_noun.capitalize()}s", "")]
    titles += [(m, "% of items, change" if _accuracy(m) else "nats, change") for m in metrics]
    return Table(tuple(titles), tuple(rows))


def _heading(report: Report, item: Recommendation) -> tuple[Cell, Cell]:
    return Cell(str(item.size)), Cell(players=set_names(report, item.removed, item.zeroed))


def _least(item: Recommendation) -> float:
    """The lowest cost of a size; what is written with the same digits counts as the same."""
    costs = [item.compared.value, *(rival.compared.value for rival in item.rivals)]
    finite = [cost for cost in costs if math.isfinite(cost)]
    return round(min(finite), 3) if finite else math.nan


def _cost(report: Report, item: Recommendation | BaselineSet, least: float) -> Cell:
    cost = item.compared.value
    best = math.isfinite(cost) and round(cost, 3) <= least
    return Cell(signed(cost), " ".join(set_names(report, item.removed, item.zeroed)), best=best)


def _estimate(estimate: Estimate) -> Cell:
    return Cell(signed(estimate.value), interval(estimate))


def _finders(points: list[FrontierPoint]) -> str:
    names = joined(list(dict.fromkeys(point.method for point in points)))
    return f"{names} (merged)" if points[0].merged else names


def _axes(point: FrontierPoint, names: Mapping[Axis, str]) -> str:
    found = [name for axis, name in names.items() if axis in point.on_frontier]
    return "every axis" if len(found) == len(names) else ", ".join(found)


def _bytes(count: int | None) -> str:
    if count is None:
        return EMPTY
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _accuracy(metric: str) -> bool:
    return metric.endswith((".acc", ".acc_norm"))


def _percent(change: Estimate) -> Estimate:
    return Estimate(100 * change.value, 100 * change.lower, 100 * change.upper)
