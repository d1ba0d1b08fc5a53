"""The sets that were chosen for measuring, round by round: `design.json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from layershap.results.result_file import ResultFile

__all__ = ["DESIGN", "Design", "DesignRound"]


@dataclass(frozen=True)
class DesignRound:
    """Sets that are measured together.

    Attributes:
        number: of the round, from 1.
        kind: ``"opening"``, ``"chosen"`` from what was measured before, or ``"fixed"`` where that
            could not be used.
        coalitions: a digit a player, 1 = kept.
    """

    number: int
    kind: Literal["opening", "chosen", "fixed"]
    coalitions: tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """All rounds of a run.

    Attributes:
        fingerprint: of the calibration campaign.
        seed: of the choice.
        players: names in depth order.
        rounds: in order.
    """

    fingerprint: str
    seed: int
    players: tuple[str, ...]
    rounds: tuple[DesignRound, ...]


DESIGN = ResultFile(Design, "design.json", "measure")
