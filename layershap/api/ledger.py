"""What a run directory's ledger knows: its players and what was measured, without its model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool

from layershap.errors import UserError
from layershap.runs.command_line import run_command
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.runs.utilities import parse_utilities

if TYPE_CHECKING:
    from cluster import Campaign
    from decoder import Roster

__all__ = ["RunLedger", "Text"]

Text = Literal["calibration", "heldout"]


@dataclass(frozen=True, eq=False)
class RunLedger:
    """The measurements of a run, opened for reading each time they are asked for.

    Attributes:
        directory: paths of the run.
        config: its configuration.
    """

    directory: RunDirectory
    config: RunConfig

    def check(self) -> None:
        """Check that something was measured.

        Raises:
            UserError: nothing was; the message names the command that begins.
        """
        if not self.directory.ledger.exists():
            path = self.directory.path
            command = run_command(self.config, path)
            raise UserError(f"{path}: nothing is measured yet; start with {command}")

    @contextmanager
    def campaign(self, text: Text = "calibration") -> Iterator[Campaign]:
        """Lend what was measured on a text.

        Args:
            text: which.

        Raises:
            UserError: nothing was measured.
            cluster.LedgerError: the ledger cannot be read, or lacks the text.
        """
        from cluster import Ledger

        self.check()
        with Ledger(self.directory.ledger, readonly=True) as ledger:
            yield ledger.campaign(text)

    def has(self, text: Text, rows: Bool[np.ndarray, "B n"]) -> bool:
        """Tell whether all sets were measured on a text; a text that is not there has none.

        Args:
            text: which.
            rows: the sets, True = kept.
        """
        from cluster import Ledger

        with Ledger(self.directory.ledger, readonly=True) as ledger:
            known = text in ledger.campaign_names()
            return known and not ledger.campaign(text).missing(rows).any()

    @cached_property
    def players(self) -> tuple[str, ...]:
        """Names of the players in depth order."""
        with self.campaign() as campaign:
            return campaign.players

    @cached_property
    def roster(self) -> Roster:
        """Who plays, for reading players as a person writes them."""
        from decoder.players import make_roster

        with self.campaign() as campaign:
            details = campaign.details
        return make_roster(details["players"], details["depth"], details["protected"])

    def unit_of(self, metric: str) -> str:
        """Return what a metric is counted in."""
        return next(
            (u.unit for u in parse_utilities(self.config.utilities) if u.metric == metric),
            "nats per token" if metric == "nll" else metric,
        )
