"""`layershap run`: the whole job."""

from __future__ import annotations

import sys

import click

from layershap.cli.options import Configured, configured
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.terminal.console import Console

__all__ = ["run"]


def _run(config: RunConfig, directory: RunDirectory) -> None:
    """Find and verify the layers that a model can do without.

    MODEL is a checkpoint directory or a hub id; without one, the embedded demo model is used. A
    run that was stopped, even killed, goes on with the same command and measures only what is
    missing.
    """
    from layershap.runs.wishes import refuse_impossible

    refuse_impossible(config, directory)
    from layershap.stages.pipeline import run as pipeline

    command = "layershap " + " ".join(sys.argv[1:])
    pipeline(config, directory, Console(), command)


run = click.command(name="run", cls=Configured)(configured(_run))
