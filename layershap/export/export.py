"""Exporting a set from an open run: what the command line and Python both do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from decoder.surgery.export import export_checkpoint
from layershap.errors import UserError
from layershap.export.notes import model_card, provenance
from layershap.runs.workspace import Workspace

if TYPE_CHECKING:
    from decoder.surgery.export import Export

__all__ = ["export_set"]


def export_set(
    work: Workspace, removed: Sequence[int], destination: Path, where: str = "--remove"
) -> Export:
    """Write and check a stock checkpoint of the run's model without some players.

    Args:
        work: the run.
        removed: player indices.
        destination: directory to make.
        where: begins messages about the set.

    Raises:
        UserError: nobody would go, or nobody would stay.
        ModelError: the directory is taken, or the checkpoint does not agree.
    """
    if not removed:
        raise UserError(f"{where}: names no layer; write some, as 4,6")
    if len(work.roster.removed_layers(removed)) >= work.roster.depth:
        raise UserError(f"{where}: that is every layer; keep at least one")
    with work.console.status("writing and checking"):
        return export_checkpoint(
            work.spec,
            removed,
            destination,
            work.texts.heldout.tokens,
            roster=work.roster,
            provenance=provenance(work, removed),
            card=model_card,
        )
