"""The best set that is measured so far of each number of players."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from layershap.results.perplexity import TOLERANCE, rise
from layershap.results.set_text import removal_text

if TYPE_CHECKING:
    from cluster import Campaign

__all__ = ["Incumbent", "IncumbentTracker", "measured_incumbents", "names_of"]

LEADER_SECONDS, LEADER_SHARE = 2.0, 0.02  # between two looks at the ledger, and of the time


@dataclass(frozen=True)
class Incumbent:
    """A set and what it costs.

    Attributes:
        count: number of players removed.
        removed: their names.
        cost: how much worse than the whole model, in `unit`.
        unit: of the cost.
        known_by: ``"verified"`` on held-out text, ``"searched"`` or ``"measured"`` on the
            calibration text.
    """

    count: int
    removed: tuple[str, ...]
    cost: float | None
    unit: str
    known_by: str


class IncumbentTracker:
    """Says in a few words the best set that is measured so far; made for progress lines.

    Of several numbers of players it takes what the report would put forward: the largest set whose
    perplexity rises by no more than the report's tolerance, else the smallest set. Where the
    utility is no loss per token, it takes the largest set.
    """

    def __init__(self, campaign: Campaign, counts: Sequence[int], unit: str) -> None:
        self._campaign, self._counts, self._unit = campaign, counts, unit
        self._text, self._due = "", -math.inf

    def __call__(self) -> str:
        """Returns it; empty before there is any. The ledger is read now and then only."""
        return self.now() if time.monotonic() >= self._due else self._text

    def now(self) -> str:
        """Returns it, from the ledger as it is now."""
        began = time.monotonic()
        self._text = self._said(measured_incumbents(self._campaign, self._counts, self._unit))
        took = time.monotonic() - began
        self._due = began + max(LEADER_SECONDS, took / LEADER_SHARE)
        return self._text

    def _said(self, found: Sequence[Incumbent]) -> str:
        if not found:
            return ""
        best = found[-1]
        if self._unit.startswith("nats"):
            inside = [b for b in found if b.cost is not None and rise(b.cost) <= TOLERANCE]
            best = inside[-1] if inside else found[0]
        players = self._campaign.players
        named = removal_text(players, [players.index(name) for name in best.removed])
        return f"best of {best.count} removed so far: {named} at {best.cost:+.2f}"


def measured_incumbents(
    campaign: Campaign, counts: Sequence[int], unit: str
) -> tuple[Incumbent, ...]:
    """Find the best measured set of each count; it may belong to nobody's search.

    Args:
        campaign: the measurements.
        counts: numbers of players of interest.
        unit: of the utility.
    """
    n, dense = len(campaign.players), math.nan
    best: dict[int, tuple[float, tuple[int, ...]]] = {}
    for records in campaign.batches():
        removed = (~records.coalitions).sum(axis=1)
        for count in {0, *counts}:
            rows = np.flatnonzero(records.ok & (removed == count))
            if not len(rows):
                continue
            row = rows[np.argmax(records.utilities[rows])]
            utility = float(records.utilities[row])
            if count == 0:
                dense = utility
            elif count < n and utility > best.get(count, (-math.inf, ()))[0]:
                best[count] = utility, tuple(np.flatnonzero(~records.coalitions[row]).tolist())
    if not math.isfinite(dense):
        return ()
    return tuple(
        Incumbent(count, names_of(campaign.players, gone), dense - utility, unit, "measured")
        for count, (utility, gone) in sorted(best.items())
    )


def names_of(players: Sequence[str], removed: Sequence[int]) -> tuple[str, ...]:
    """Return the names of removed players."""
    return tuple(players[player] for player in removed)
