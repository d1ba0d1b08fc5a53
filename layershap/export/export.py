"""Exporting a smaller model: what the command line and Python both do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from decoder import ModelSpec, load_model
from decoder.surgery.edit import Edits
from decoder.surgery.export import write
from decoder.surgery.plan import plan_edits
from layershap.export.card import model_card
from layershap.export.notes import origin, provenance
from layershap.export.sources import check_removed
from layershap.results.repairs import KeptRepair
from layershap.runs.kept_repairs import kept_patches
from layershap.runs.workspace import Workspace
from layershap.terminal.console import Console

if TYPE_CHECKING:
    from decoder.surgery.export import Export

__all__ = ["export_edits", "export_set", "repeat_edits"]


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
    check_removed(removed, work.roster, where)
    with work.console.status("planning"):
        plan = plan_edits(work.roster, removed, lambda: load_model(work.spec))
    return export_edits(work, plan.edits, destination, plan.note)


def export_edits(
    work: Workspace,
    edits: Edits,
    destination: Path,
    note: str | None = None,
    repair: KeptRepair | None = None,
) -> Export:
    """Write and check a stock checkpoint of what edits make of the run's model.

    Args:
        work: the run.
        edits: what to do to the model.
        destination: directory to make.
        note: why halves are zeroed that might have been repacked, where that is known.
        repair: whose edits they are, where weights were fitted.

    Raises:
        EditError: the edits do not fit the model.
        ModelError: the directory is taken, or the checkpoint does not agree.
    """
    with work.console.status("writing and checking"):
        return write(
            work.spec,
            edits,
            destination,
            work.texts.heldout.tokens,
            patches=None if repair is None else kept_patches(work.directory, repair),
            note=note,
            provenance=provenance(work, edits, repair),
            card=model_card,
        )


def repeat_edits(spec: ModelSpec, edits: Edits, destination: Path, console: Console) -> Export:
    """Write and check a stock checkpoint of what edits make of a model that no run is about.

    Args:
        spec: the model.
        edits: what to do to it.
        destination: directory to make.
        console: where to show that it goes on.

    Raises:
        EditError: the edits do not fit the model.
        ModelError: the directory is taken, or the checkpoint does not agree.
    """
    with console.status("writing and checking"):
        return write(spec, edits, destination, provenance=origin(spec, edits), card=model_card)
