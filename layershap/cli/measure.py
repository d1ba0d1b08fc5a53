"""`layershap measure`: the first stage alone."""

from __future__ import annotations

import click

from layershap.cli.options import Configured, configured
from layershap.results.set_text import typed
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.terminal.console import Console

__all__ = ["measure"]


def _measure(config: RunConfig, directory: RunDirectory) -> None:
    """Measure a design of sets and keep them in the run directory's ledger.

    The other stages go on from there: fit, values, search, verify, report.
    """
    from layershap.runs.wishes import refuse_impossible

    refuse_impossible(config, directory)
    from layershap.runs.workspace import open_workspace
    from layershap.stages.measure import measure as stage

    with open_workspace(config, directory, Console()) as work:
        stage(work)
    click.echo(f"Next: {typed('fit', directory.path)}")


measure = click.command(name="measure", cls=Configured)(configured(_measure))
