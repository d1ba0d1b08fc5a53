"""The explorer of a run as a file to share."""

from __future__ import annotations

from pathlib import Path

from layershap.errors import UserError
from layershap.explorer.data import explorer_data, gather
from layershap.explorer.page import render_explorer
from layershap.files import write_whole
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory

__all__ = ["explorer_page", "export_explorer"]


def explorer_page(
    config: RunConfig,
    directory: RunDirectory,
    service: str | None = None,
    *,
    measures: bool = False,
) -> str:
    """Returns the explorer of a run as one HTML page.

    Args:
        config: of the run.
        directory: of the run.
        service: base URL of the query service that serves the page; None for a file.
        measures: whether that service measures sets on the real model.

    Raises:
        surrogate.SurrogateNotFound: the run has no surrogate yet.
    """
    return render_explorer(explorer_data(gather(config, directory), service, measures=measures))


def export_explorer(config: RunConfig, directory: RunDirectory, path: Path) -> int:
    """Writes the explorer of a run to a file and returns its size in bytes.

    Raises:
        surrogate.SurrogateNotFound: the run has no surrogate yet.
        UserError: the file cannot be written.
    """
    page = explorer_page(config, directory)
    try:
        write_whole(path, page)
    except OSError as error:
        raise UserError(
            f"--to {path}: cannot be written ({error.strerror}); name another file"
        ) from None
    return len(page.encode())
