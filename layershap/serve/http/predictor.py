"""Answers about sets: predictions with intervals, measured facts, and the sets one step away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from layershap.serve.http.snapshot import Snapshot, named_players
from sampling import keys

__all__ = ["Answers", "Predictor", "Step", "steps_from"]

Kind = Literal["removal", "return", "swap"]
LEVELS_KEPT = 64
SMALL = 256  # sets of the smallest compiled program
QUICK_SECONDS = 0.003  # a thread that waits for the interpreter gets it after 0.005


@dataclass(frozen=True, eq=False)
class Answers:
    """What is said of sets, in units of the metric.

    Attributes:
        value: predicted.
        lower: lower end of the interval; None with too few measurements for its level.
        upper: upper end.
        measured: what was measured of a set; NaN where nothing was.
    """

    value: Float[np.ndarray, "B"]
    lower: Float[np.ndarray, "B"] | None
    upper: Float[np.ndarray, "B"] | None
    measured: Float[np.ndarray, "B"]

    def __getitem__(self, rows: slice | Int[np.ndarray, "b"]) -> Answers:
        """Returns the answers of some rows."""
        return Answers(
            self.value[rows],
            None if self.lower is None else self.lower[rows],
            None if self.upper is None else self.upper[rows],
            self.measured[rows],
        )


@dataclass(frozen=True)
class Step:
    """A change of a set.

    Attributes:
        kind: whether a player goes, comes back, or both.
        remove: who goes; None if nobody does.
        restore: who comes back.
    """

    kind: Kind
    remove: int | None
    restore: int | None


class Predictor:
    """One snapshot made ready to answer.

    Attributes:
        snapshot: what it answers from.
        names: players by what may be asked for.
        dense: the measured metric of all players.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.names: Mapping[str | int | float, tuple[int, ...]] = {**named_players(snapshot)}
        self._known = dict(zip(keys(snapshot.coalitions), snapshot.utilities.tolist(), strict=True))
        whole = snapshot.coalitions.all(axis=1)
        self.dense = snapshot.sign * float(snapshot.utilities[whole][0])
        self._quick = False
        self._half_widths = lru_cache(LEVELS_KEPT)(self._compute_half_widths)

    def utilities(self, rows: Bool[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns predicted utilities; the dear part, safe to call from any thread."""
        return self.snapshot.regressor.predict(rows)

    def warm_up(self) -> None:
        """Compiles the programs of all batch sizes, and times a small batch."""
        n = len(self.snapshot.players)
        for count in (1, 1000, 2000):
            self.utilities(np.ones((count, n), dtype=bool))
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            self.utilities(np.ones((SMALL, n), dtype=bool))
            seconds.append(time.perf_counter() - began)
        self._quick = min(seconds) < QUICK_SECONDS

    def quick(self, rows: int) -> bool:
        """Returns whether so many are predicted sooner than another thread takes them over."""
        return self._quick and rows <= SMALL

    def answers(
        self, rows: Bool[np.ndarray, "B n"], utilities: Float[np.ndarray, "B"], level: float
    ) -> Answers:
        """Returns what is said of rows whose predicted utilities are known."""
        sign = self.snapshot.sign
        value = sign * utilities
        lower = upper = None
        half = self._half_widths(level)
        if half is not None:
            width = half[len(self.snapshot.players) - rows.sum(axis=1)]
            lower, upper = value - width, value + width
        known = self._known
        measured = np.array([known.get(key, np.nan) for key in keys(rows)], dtype=np.float64)
        return Answers(value, lower, upper, sign * measured)

    def cost(self, value: Float[np.ndarray, "B"]) -> Float[np.ndarray, "B"]:
        """Returns how much worse than the whole model: above 0 is worse."""
        return self.snapshot.sign * (self.dense - value)

    def removed_names(self, row: Bool[np.ndarray, "n"]) -> list[str]:
        """Returns the names of who is not kept, in depth order."""
        players = self.snapshot.players
        return [players[place] for place in np.flatnonzero(~row)]

    def _compute_half_widths(self, level: float) -> Float[np.ndarray, "strata"] | None:
        try:
            return self.snapshot.regressor.conformal_.half_widths(level)
        except ValueError:  # too few measurements for this level
            return None


def steps_from(
    row: Bool[np.ndarray, "n"],
) -> tuple[list[Step], Bool[np.ndarray, "B n"]]:
    """Returns every set one step away from a set: removals, returns and swaps.

    Nobody is removed from a set that keeps one player alone.

    Returns:
        The steps, and the coalition that each leads to.
    """
    kept, gone = np.flatnonzero(row).tolist(), np.flatnonzero(~row).tolist()
    steps = [Step("removal", out, None) for out in kept] if len(kept) > 1 else []
    steps += [Step("return", None, back) for back in gone]
    steps += [Step("swap", out, back) for back in gone for out in kept]
    rows = np.repeat(row[None], len(steps), axis=0)
    for place, step in enumerate(steps):
        if step.remove is not None:
            rows[place, step.remove] = False
        if step.restore is not None:
            rows[place, step.restore] = True
    return steps, rows
