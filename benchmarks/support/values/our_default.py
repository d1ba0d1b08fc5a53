"""The project's default estimator of Shapley values, as the benchmarks call it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from sampling import campaign_design
from shapley import BudgetedGame, Game, TableGame, estimate
from surrogate import SurrogateRegressor
from surrogate.process.adaptive import AdaptiveValues

__all__ = [
    "Estimate",
    "code_version",
    "default_design",
    "default_estimate",
    "default_surrogate",
    "default_values",
]

_ROOMS = ("sampling", "shapley", "surrogate")


@dataclass(frozen=True, eq=False)
class Estimate:
    """What an estimator found out about one game.

    Attributes:
        values: one a player, in units of the utility.
        lower: lower ends of the 95 % intervals, NaN where there is none.
        upper: upper ends.
        evaluations: distinct coalitions that were asked for.
        diagnostics: figures and the status, for the record.
    """

    values: Float[np.ndarray, "n"]
    lower: Float[np.ndarray, "n"]
    upper: Float[np.ndarray, "n"]
    evaluations: int
    diagnostics: Mapping[str, float | str]


def default_values(table: Float[np.ndarray, "M"], budget: int, seed: int) -> Estimate:
    """The default estimate for a table of `2^n` utilities with at most `budget` of them."""
    return default_estimate(TableGame(table), budget, seed)


def default_estimate(game: Game, budget: int, seed: int) -> Estimate:
    """The default estimate for any game with at most `budget` distinct coalitions."""
    counted = BudgetedGame(game, budget)
    found = estimate(AdaptiveValues(), counted, budget, seed)
    diagnostics = {**found.diagnostics, "status": found.status.name}
    return Estimate(found.values, found.lower, found.upper, counted.spent, diagnostics)


def default_design(n: int, budget: int, seed: int) -> Bool[np.ndarray, "m n"]:
    """Coalitions that were not chosen for any learner: the anchors and complement pairs."""
    # One removal at most: all of the budget beside the anchors goes to complement pairs.
    return campaign_design(n, budget, 1, seed).coalitions


def default_surrogate(
    coalitions: Bool[np.ndarray, "m n"], utilities: Float[np.ndarray, "m"], seed: int
) -> tuple[SurrogateRegressor, Bool[np.ndarray, "m"]]:
    """The fitted surrogate as a run has it, and the rows that it was fitted to."""
    # The empty coalition is often far from all else and would bend the surrogate everywhere.
    used = np.asarray(coalitions.any(axis=1))
    regressor = SurrogateRegressor(seed=seed)
    regressor.fit(coalitions[used], utilities[used])
    return regressor, used


def code_version() -> str:
    """Digest of all code behind the default: what a stored estimate was made by."""
    root = Path(__file__).parents[3]
    files = [path for room in _ROOMS for path in sorted((root / room).rglob("*.py"))]
    digest = hashlib.sha256()
    for path in [*files, Path(__file__)]:
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
