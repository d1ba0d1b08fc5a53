"""Values of retention beside the exact ones: errors, coverage and what their least sets lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.support.values.estimator_cells import Cell
from sampling import enumerate_all
from shapley import TableGame, exact_values

__all__ = ["CellResult", "cell_results", "regret"]


@dataclass(frozen=True)
class CellResult:
    """One game at one budget, over its seeds.

    Attributes:
        game: its name.
        players: how many.
        evaluations: distinct coalitions.
        error: mean of the squared error of the values over their square.
        covered: share of the exact values that the 95 % intervals hold.
        regret: what the sets of the least values lose more than those of exact values, nats.
        best_peer: the same error of the best peer, None without peers.
        peer: its name.
    """

    game: str
    players: int
    evaluations: int
    error: float
    covered: float
    regret: float
    best_peer: float | None = None
    peer: str = ""

    def text(self) -> str:
        """Returns a line of a table."""
        beside = "" if self.best_peer is None else f"  {self.peer} {self.best_peer:.2e}"
        return (
            f"{self.game:<16} {self.players:3d} players {self.evaluations:4d} sets  error"
            f" {self.error:.2e}  covered {self.covered:.2f}  regret {self.regret:+.4f}{beside}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Returns what JSON can hold."""
        return asdict(self)


def cell_results(
    losses: Mapping[str, Float[np.ndarray, "M"]],
    games: Mapping[str, Float[np.ndarray, "M"]],
    ours: Mapping[Cell, Mapping[str, Any]],
    peers: Mapping[str, Mapping[str, Mapping[str, list[dict[str, Any]]]]],
) -> list[CellResult]:
    """Returns the cells of all games, in order.

    Args:
        losses: minus the losses in nats of every set, by game.
        games: their retention.
        ours: estimates by cell, as `estimate_cells` gives them.
        peers: estimates by game, method and budget, as `peer_estimates` gives them; may be empty.
    """
    rows = []
    for name, table in games.items():
        truth = exact_values(TableGame(table)).values
        exact_regret = regret(truth, losses[name])
        for budget in sorted({cell.budget for cell in ours if cell.game == name}):
            found = [ours[c] for c in ours if c.game == name and c.budget == budget]
            values = [np.array(one["values"]) for one in found]
            inside = [
                (np.array(one["lower"], float) <= truth) & (truth <= np.array(one["upper"], float))
                for one in found
            ]
            best, peer = _best_peer(peers.get(name, {}), budget, truth)
            rows.append(
                CellResult(
                    name,
                    len(truth),
                    budget,
                    float(np.mean([_error(one, truth) for one in values])),
                    float(np.mean(inside)),
                    float(np.mean([regret(one, losses[name]) for one in values])) - exact_regret,
                    best,
                    peer,
                )
            )
    return rows


def regret(values: Float[np.ndarray, "n"], losses: Float[np.ndarray, "M"]) -> float:
    """Returns what the sets of the least values lose beside the best of their size.

    Args:
        values: one a player.
        losses: minus the loss of every set, in nats.

    Returns:
        mean over 1 to half of the players removed, nats.
    """
    n = len(values)
    sizes = enumerate_all(n).sum(axis=1)
    place, lost = len(losses) - 1, []
    for removed, player in enumerate(np.argsort(values, kind="stable")[: n // 2], 1):
        place -= 1 << int(player)
        lost.append(losses[sizes == n - removed].max() - losses[place])
    return float(np.mean(lost))


def _best_peer(
    cells: Mapping[str, Mapping[str, list[dict[str, Any]]]], budget: int, truth: np.ndarray
) -> tuple[float | None, str]:
    errors = {
        method: float(np.mean([_error(np.array(one["values"]), truth) for one in found]))
        for method, by_budget in cells.items()
        if (found := by_budget.get(str(budget), [])) and all("values" in one for one in found)
    }
    if not errors:
        return None, ""
    best = min(errors, key=errors.__getitem__)
    return errors[best], best


def _error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(((found - truth) ** 2).sum() / (truth**2).sum())
