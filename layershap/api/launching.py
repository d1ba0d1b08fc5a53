"""A whole run from Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from layershap.api.opened import OpenedRun
from layershap.errors import UserError
from layershap.runs.command_line import run_command
from layershap.runs.config import SETTINGS
from layershap.runs.config_file import checked_config
from layershap.runs.directory import RunDirectory
from layershap.runs.wishes import refuse_impossible
from layershap.terminal.console import Console

__all__ = ["run"]


def run(
    model: str | os.PathLike[str] | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **settings: Any,
) -> OpenedRun:
    """Do what `layershap run` does, and open the result.

    A run that was stopped goes on where it stopped.

    Args:
        model: checkpoint directory or hub id; the embedded demo model when omitted.
        output: run directory; ``runs/<model>`` when omitted.
        progress: whether to tell about the progress on standard error.
        settings: fields of :class:`layershap.runs.config.RunConfig`, named as the options of
            `layershap run`: ``budget=400, count="1-6", calibration=("text.txt",)``.

    Raises:
        UserError: a setting is unknown or wrong.
        RunFailed: the run could not be finished.
    """
    if "remove" in settings:
        raise UserError(
            "remove: names players; numbers of players are count, as"
            f" count={str(settings['remove'])!r}"
        )
    if unknown := sorted(set(settings) - set(SETTINGS)):
        import difflib

        near = difflib.get_close_matches(unknown[0], SETTINGS, n=1)
        hint = f"; the nearest setting is {near[0]}" if near else ""
        raise UserError(f"{unknown[0]}: is no setting of a run{hint}")
    if model is not None:
        settings["model"] = os.fspath(model)
    config = checked_config(settings)
    directory = RunDirectory(config.default_output() if output is None else Path(output))
    refuse_impossible(config, directory)
    directory.wish(config).record()
    from layershap.stages.pipeline import run as pipeline

    console = Console(quiet=not progress)
    console.out.quiet = not progress
    pipeline(config, directory, console, run_command(config, directory.path))
    return OpenedRun(directory, config)
