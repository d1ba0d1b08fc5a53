"""A run as its directory alone tells it: no model, no text, no device is needed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from layershap.errors import UserError
from layershap.results.set_text import removal_text
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.plan import Plan, make_plan
from layershap.runs.utilities import Utility, parse_utilities
from layershap.terminal.console import Console
from layershap.terminal.log_file import logged
from layershap.terminal.progress_file import ProgressWriter

if TYPE_CHECKING:
    from cluster import Campaign, Ledger
    from decoder.players import Roster

__all__ = [
    "CALIBRATION",
    "FINISHED",
    "HELDOUT",
    "MEASURED_ON",
    "REPAIRED",
    "REPAIRED_HELDOUT",
    "STARTED",
    "RecordedRun",
    "open_recorded",
]

CALIBRATION, HELDOUT = "calibration", "heldout"
REPAIRED, REPAIRED_HELDOUT = "repaired", "repaired-heldout"
"""The same texts, measured of sets that were repaired on a third one."""
STARTED, FINISHED = "stage started", "stage finished"
"""Kinds of the ledger's events that say how far a run is."""
MEASURED_ON = "measured on"
"""Kind of the event that describes the machine and the text, for reports made elsewhere."""


@dataclass(frozen=True)
class RecordedRun:
    """What was measured of a run, and all that follows from it.

    Attributes:
        config: of the run.
        directory: where it is.
        console: who tells a person.
        ledger: its measurements.
    """

    config: RunConfig
    directory: RunDirectory
    console: Console
    ledger: Ledger

    @cached_property
    def _calibration(self) -> Campaign:
        known = self.ledger.campaign(CALIBRATION)
        kind = known.details.get("players", self.config.measure.players)
        if kind != self.config.measure.players:
            raise UserError(
                f"{self.directory.config}: players {self.config.measure.players} are not those "
                f"that were measured ({kind}); put the run's own run.toml back"
            )
        return known

    def campaign(self, name: str) -> Campaign:
        """Return the measurements on one of the two texts.

        Raises:
            UserError: `run.toml` is not of this ledger.
            cluster.LedgerError: nothing was measured on that text.
        """
        return self._calibration if name == CALIBRATION else self.ledger.campaign(name)

    @property
    def players(self) -> tuple[str, ...]:
        """Names of the players."""
        return self._calibration.players

    @cached_property
    def roster(self) -> Roster:
        """Who plays, as it was measured."""
        from decoder.players import make_roster

        details = self._calibration.details
        return make_roster(details["players"], details["depth"], details["protected"])

    @cached_property
    def plan(self) -> Plan:
        """How the budget is shared."""
        return make_plan(self.config, len(self.players))

    @cached_property
    def utility(self) -> Utility:
        """What decides."""
        return parse_utilities(self.config.utilities)[0]

    def named(self, removed: Iterable[int]) -> str:
        """Return how a person names a set of players: 4,6 or L4.attn,L6.mlp."""
        return removal_text(self.players, removed)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Record in the ledger that a stage begins, and at the end that it is finished.

        Args:
            name: of the stage, one of `layershap.runs.stages.STAGES`.
        """
        began = time.monotonic()
        self.ledger.log_event(STARTED, stage=name)
        yield
        fingerprint = self._calibration.fingerprint
        seconds = round(time.monotonic() - began, 3)
        self.ledger.log_event(FINISHED, stage=name, fingerprint=fingerprint, seconds=seconds)

    def last_event(self, kind: str) -> dict[str, Any]:
        """Return what the newest event of a kind says; nothing where there is none."""
        events = self.ledger.events(kind)
        return dict(events[-1].detail) if events else {}


@contextmanager
def open_recorded(
    config: RunConfig, directory: RunDirectory, console: Console
) -> Iterator[RecordedRun]:
    """Open a run's directory for stages that need nothing else; nobody else writes meanwhile.

    Args:
        config: of the run.
        directory: of the run, with a ledger.
        console: who tells a person.

    Raises:
        UserError: there is no ledger.
        cluster.LedgerError: it cannot be opened.
    """
    from cluster import Ledger

    if not directory.ledger.exists():
        raise UserError(
            f"{directory.path}: nothing is measured yet; go on with the layershap run or measure "
            "command that began it"
        )
    with logged(directory.path), Ledger(directory.ledger) as ledger:
        console.heart = ProgressWriter(directory.path)
        try:
            yield RecordedRun(config, directory, console, ledger)
        finally:
            console.heart.stop()
