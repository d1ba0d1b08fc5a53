"""The default estimator beside its peers, cell by cell, and the bars that follow from it.

A cell is a game and a budget. Its error is the mean over seeds of the squared error of the values
relative to the squared values, `|phi_hat - phi|^2 / |phi|^2`; the peer to beat is the one with the
least mean error in that very cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.support.report_bars import Bar
from benchmarks.support.values.estimator_cells import Cell
from shapley import TableGame, exact_values

__all__ = ["Row", "bars", "compare", "coverage", "print_rows"]

_REAL_MEAN, _REAL_WORST = 0.33, 1.0
_SYNTHETIC_MEAN, _SYNTHETIC_WORST = 0.6, 1.5
_COVERAGE = (0.93, 0.99)
_COVERED_FROM = 10


@dataclass(frozen=True)
class Row:
    """One cell.

    Attributes:
        game: its name.
        real: whether a language model was measured.
        budget: distinct coalitions.
        per_player: the same in coalitions a player.
        ours: mean error of the default over seeds.
        best: the peer with the least mean error; "" where no peer was run.
        best_error: its mean error.
        covered: intervals that hold the exact value.
        intervals: how many there are, one a player and seed; a missing one does not cover.
        ours_by_seed: the errors behind the mean.
        peers: errors by seed of each peer that gave values for every seed.
        refused: reasons of the others.
    """

    game: str
    real: bool
    budget: int
    per_player: int
    ours: float
    best: str
    best_error: float
    covered: int
    intervals: int
    ours_by_seed: list[float]
    peers: dict[str, list[float]]
    refused: dict[str, str]

    @property
    def ratio(self) -> float:
        """Error of the default in units of the best peer's."""
        return self.ours / self.best_error

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "ratio": self.ratio if self.best else None}


def compare(
    tables: Mapping[str, Float[np.ndarray, "M"]],
    ours: Mapping[Cell, Mapping[str, Any]],
    peers: Mapping[str, Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]],
    seeds: int,
    real: Sequence[str],
) -> list[Row]:
    """One row a game and budget, in the order of the tables.

    Args:
        tables: utilities of all coalitions, by game.
        ours: estimates of the default, as `estimator_cells.estimate_cells` returns them.
        peers: estimates by game, method and budget; games may be missing.
        seeds: how many seeds count.
        real: names of the games of language models.

    Raises:
        ValueError: an estimate asked for more coalitions than its budget.
    """
    rows = []
    for game, table in tables.items():
        truth = exact_values(TableGame(table)).values
        for budget in sorted({cell.budget for cell in ours if cell.game == game}):
            found = [ours[Cell(game, budget, seed)] for seed in range(seeds)]
            _within(f"the default on {game}", budget, found)
            errors, refused = {}, {}
            for method, budgets in peers.get(game, {}).items():
                estimates = budgets.get(str(budget), [])[:seeds]
                reason = next((e["error"] for e in estimates if "error" in e), None)
                if reason is not None:
                    refused[method] = reason
                elif len(estimates) == seeds:
                    _within(f"{method} on {game}", budget, estimates)
                    errors[method] = [_error(e["values"], truth) for e in estimates]
            means = {method: float(np.mean(numbers)) for method, numbers in errors.items()}
            means = {method: mean for method, mean in means.items() if math.isfinite(mean)}
            best = min(means, key=means.__getitem__, default="")
            by_seed = [_error(e["values"], truth) for e in found]
            covered = sum(_covered(e, truth) for e in found)
            rows.append(
                Row(
                    game=game,
                    real=game in real,
                    budget=budget,
                    per_player=budget // len(truth),
                    ours=float(np.mean(by_seed)),
                    best=best,
                    best_error=means.get(best, math.nan),
                    covered=covered,
                    intervals=len(truth) * len(found),
                    ours_by_seed=by_seed,
                    peers=errors,
                    refused=refused,
                )
            )
    return rows


def coverage(rows: Sequence[Row]) -> float:
    """Share of the intervals from ten coalitions a player on that hold the exact value."""
    counted = [row for row in rows if row.per_player >= _COVERED_FROM]
    return sum(row.covered for row in counted) / max(1, sum(row.intervals for row in counted))


def bars(rows: Sequence[Row]) -> list[Bar]:
    """What the rows had to reach. Bars that need peers are left out where none was run."""
    found = []
    limits = {True: (_REAL_MEAN, _REAL_WORST), False: (_SYNTHETIC_MEAN, _SYNTHETIC_WORST)}
    for real, (mean, worst) in limits.items():
        cells = [row for row in rows if row.real == real and row.best]
        if not cells:
            continue
        kind = "real" if real else "synthetic"
        geometric = math.exp(float(np.mean([math.log(row.ratio) for row in cells])))
        highest = max(cells, key=lambda row: row.ratio)
        found += [
            Bar(
                f"error / best peer's, geometric mean of {len(cells)} {kind} cells",
                geometric,
                f"at most {mean}",
                geometric <= mean,
            ),
            Bar(
                f"error / best peer's, worst {kind} cell ({highest.game} at {highest.budget})",
                highest.ratio,
                f"at most {worst}",
                highest.ratio <= worst,
            ),
        ]
    if any(row.per_player >= _COVERED_FROM for row in rows):
        low, high = _COVERAGE
        share = coverage(rows)
        found.append(
            Bar(
                f"95 % intervals of values that hold, from {_COVERED_FROM}n on",
                share,
                f"{low} to {high}",
                low <= share <= high,
            )
        )
    return found


def print_rows(rows: Sequence[Row]) -> None:
    """Prints the table of cells."""
    width = max(len(row.best) for row in rows)
    print(
        f"{'game':<15}{'budget':>7}{'':>7}{'ours':>10}{'best peer':>11}  {'':<{width}}"
        f"{'ratio':>8}{'held':>7}"
    )
    for row in rows:
        peer = f"{row.best_error:11.2e}  {row.best:<{width}}{row.ratio:>8.2f}" if row.best else ""
        print(
            f"{row.game:<15}{row.budget:>7}{f'{row.per_player}n':>7}{row.ours:>10.2e}{peer}"
            f"{row.covered / row.intervals:>7.2f}"
        )


def _error(values: Sequence[float], truth: Float[np.ndarray, "n"]) -> float:
    return float(((np.asarray(values) - truth) ** 2).sum() / (truth**2).sum())


def _covered(estimate: Mapping[str, Any], truth: Float[np.ndarray, "n"]) -> int:
    ends = zip(estimate["lower"], estimate["upper"], truth, strict=True)
    return sum(low is not None and low <= value <= high for low, high, value in ends)


def _within(who: str, budget: int, estimates: Sequence[Mapping[str, Any]]) -> None:
    most = max(estimate["evaluations"] for estimate in estimates)
    if most > budget:
        raise ValueError(f"{who} asked for {most} coalitions with a budget of {budget}")
