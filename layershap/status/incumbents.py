"""The best set so far of each number of players: verified, found by the search, or measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from layershap.results.candidates import CANDIDATES
from layershap.results.recommendations import RECOMMENDATIONS
from layershap.runs.directory import RunDirectory
from layershap.runs.incumbent import Incumbent, measured_incumbents, names_of

if TYPE_CHECKING:
    from cluster import Campaign

__all__ = ["incumbents"]


def incumbents(
    directory: RunDirectory,
    campaign: Campaign,
    counts: Sequence[int],
    unit: str,
    finished: Collection[str],
) -> tuple[Incumbent, ...]:
    """Returns the best set of each number of players, from the furthest stage that has any.

    Args:
        directory: of the run.
        campaign: the measurements on the calibration text.
        counts: numbers of players of interest.
        unit: of the utility.
        finished: stages that are done.
    """
    players = campaign.players
    if "verify" in finished:
        found = RECOMMENDATIONS.read(directory.path).recommendations
        return tuple(
            Incumbent(
                item.count,
                names_of(players, item.removed),
                item.difference,
                "nats per token",
                "verified",
            )
            for item in found
        )
    if "search" in finished:
        chosen = CANDIDATES.read(directory.path).chosen
        return tuple(
            Incumbent(count, names_of(players, best.removed), best.cost, unit, "searched")
            for count, best in chosen.items()
        )
    return measured_incumbents(campaign, counts, unit)
