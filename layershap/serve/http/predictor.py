"""A snapshot that answers about sets, how quickly it does, and the sets one step away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from layershap.api.answering import Answerer, looked_up
from layershap.serve.http.snapshot import Snapshot, named_players

__all__ = ["Predictor", "Step", "steps_from"]

Kind = Literal["removal", "return", "swap"]
SMALL = 256  # sets of the smallest compiled program
QUICK_SECONDS = 0.003  # a thread that waits for the interpreter gets it after 0.005


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


class Predictor(Answerer):
    """One snapshot made ready to answer.

    Attributes:
        snapshot: what it answers from.
        names: players by what may be asked for.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(
            snapshot.regressor,
            looked_up(snapshot.coalitions, snapshot.utilities),
            snapshot.players,
            snapshot.metric,
            snapshot.unit,
            snapshot.sign,
        )
        self.snapshot = snapshot
        self.names: Mapping[str | int | float, tuple[int, ...]] = {**named_players(snapshot)}
        self._quick = False

    def warm_up(self) -> None:
        """Compiles the programs of all batch sizes, and times a small batch."""
        n = len(self.players)
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
