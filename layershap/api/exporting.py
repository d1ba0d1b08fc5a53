"""Writing a run's smaller checkpoint from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory

if TYPE_CHECKING:
    from decoder.surgery.export import Export

__all__ = ["export_removed"]


def export_removed(
    directory: RunDirectory,
    config: RunConfig,
    removed: Sequence[int],
    to: Path,
    *,
    progress: bool,
) -> Export:
    """Write and check a stock checkpoint of a run's model without some players.

    Args:
        directory: of the run.
        config: its configuration.
        removed: player indices.
        to: directory to make.
        progress: whether to show progress on standard error.

    Raises:
        UserError: nobody would go, or nobody would stay.
        ModelError: the directory is taken, or the checkpoint does not agree.
    """
    from decoder.checkpoint.saving import Unwritable, refuse_taken
    from layershap.export.export import export_set
    from layershap.runs.workspace import open_workspace
    from layershap.terminal.console import Console

    try:
        refuse_taken(to)
        with open_workspace(config, directory, Console(quiet=not progress)) as work:
            return export_set(work, removed, to, where="remove")
    except Unwritable as error:
        # What the command line calls --to is an argument here.
        raise Unwritable(str(error).removeprefix("--")) from None
