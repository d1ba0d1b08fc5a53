"""The ledger: a SQLite file that holds every measured coalition and survives any crash."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cluster.errors import CampaignMismatch, LedgerError
from cluster.ledger.campaign import Campaign
from cluster.ledger.columns import Column, from_json, to_json, widths
from cluster.ledger.store import Store

__all__ = ["Ledger"]


class Ledger(Store):
    """The store of measurements of one run directory.

    A writer holds the directory's lock from construction to :meth:`close`. Readers need no lock
    and see every committed row, also while a writer is at work. Use it as a context manager.

    Args:
        path: the file, usually ``<run directory>/ledger.sqlite``. A writer creates it and its
            directory, and upgrades a file that an older version wrote.
        readonly: open an existing ledger to read it.

    Attributes:
        path: the file.
        readonly: whether it was opened to read.
        upgraded_from: the older schema version that the file had when it was opened for writing,
            or None.

    Raises:
        LedgerLocked: if another process writes to the same run directory.
        LedgerCorrupt: if the file is damaged or is no ledger. The file is left as it is.
        LedgerError: if the file cannot be opened, was written by a newer version, or was written
            by an older one and is opened to read.
    """

    def open_campaign(
        self,
        name: str,
        fingerprint: str,
        players: Sequence[str],
        columns: Sequence[Column],
        details: Mapping[str, Any],
        *,
        utility: str = "nll",
    ) -> Campaign:
        """Returns the campaign of this name, created if it is new.

        Args:
            name: for example ``"calibration"`` or ``"heldout"``.
            fingerprint: content hash of everything that decides a measurement. Campaigns of the
                same fingerprint share their measurements.
            players: names in depth order.
            columns: what is measured of each coalition.
            details: what the fingerprint was made of, in words. JSON values only.
            utility: the column that decides. A known campaign can be given another one.

        Raises:
            CampaignMismatch: if the name was measured with another fingerprint, or the fingerprint
                with columns of other names or widths.
            LedgerError: if the arguments cannot describe a campaign.
        """
        asked = Campaign(
            ledger=self,
            name=name,
            fingerprint=fingerprint,
            players=tuple(players),
            # Through JSON once, so that a stored and a fresh campaign compare equal.
            columns=from_json(to_json(columns)),
            utility=utility,
            details=json.loads(json.dumps(dict(details))),
        )
        known = self._campaigns(name)
        if not known:
            self._create(asked)
            return asked
        if not known[0].same_as(asked):
            raise CampaignMismatch(_mismatch(self.path, known[0], asked))
        if known[0].utility != utility:
            with self.transaction() as db:
                db.execute("UPDATE campaigns SET utility = ? WHERE name = ?", (utility, name))
        return replace(known[0], utility=utility)

    def campaign(self, name: str) -> Campaign:
        """Returns a campaign that exists.

        Raises:
            LedgerError: if there is none of this name.
        """
        known = self._campaigns(name)
        if not known:
            names = ", ".join(self.campaign_names()) or "none"
            raise LedgerError(f"no campaign {name!r} in {self.path}; it has {names}")
        return known[0]

    def campaign_names(self) -> tuple[str, ...]:
        """Returns the names of all campaigns, oldest first."""
        rows = self.fetch("SELECT name FROM campaigns ORDER BY created, name")
        return tuple(name for (name,) in rows)

    def _campaigns(self, name: str) -> list[Campaign]:
        rows = self.fetch(
            "SELECT fingerprint, players, columns, utility, details FROM campaigns WHERE name = ?",
            (name,),
        )
        return [
            Campaign(
                ledger=self,
                name=name,
                fingerprint=fingerprint,
                players=tuple(json.loads(players)),
                columns=from_json(columns),
                utility=utility,
                details=json.loads(details),
            )
            for fingerprint, players, columns, utility, details in rows
        ]

    def _create(self, new: Campaign) -> None:
        layout = (len(new.players), widths(new.columns))
        with self.transaction() as db:
            db.execute(
                "INSERT INTO layouts (fingerprint, players, columns) VALUES (?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (new.fingerprint, *layout),
            )
            stored = db.execute(
                "SELECT players, columns FROM layouts WHERE fingerprint = ?", (new.fingerprint,)
            ).fetchone()
            if stored != layout:
                raise CampaignMismatch(
                    f"fingerprint {new.fingerprint} in {self.path} belongs to {stored[0]} players"
                    f" and the columns {stored[1]}, campaign {new.name!r} has {layout[0]} and"
                    f" {layout[1]}; give it a fingerprint of its own"
                )
            db.execute(
                "INSERT INTO campaigns VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    new.name,
                    new.fingerprint,
                    json.dumps(new.players),
                    to_json(new.columns),
                    new.utility,
                    json.dumps(new.details),
                    time.time(),
                ),
            )


def _mismatch(path: Path, stored: Campaign, asked: Campaign) -> str:
    if stored.fingerprint == asked.fingerprint:
        differing = [
            f"{field} differ"
            for field in ("players", "columns")
            if getattr(stored, field) != getattr(asked, field)
        ]
    else:
        differing = [
            f"{key} was {stored.details.get(key)!r} and is now {asked.details.get(key)!r}"
            for key in sorted({*stored.details, *asked.details})
            if stored.details.get(key) != asked.details.get(key)
        ] or ["the details are the same, so the contents of the weights or of the text changed"]
    return (
        f"campaign {stored.name!r} in {path} has fingerprint {stored.fingerprint}, this run has"
        f" {asked.fingerprint}: {'; '.join(differing)}; choose another --output directory"
    )
