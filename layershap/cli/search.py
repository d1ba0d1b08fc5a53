"""`layershap search`: sets to remove from the model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from layershap.cli.moved import OfARun, refused_remove
from layershap.cli.options import read_run, run_argument
from layershap.terminal.console import Console

__all__ = ["search"]


@click.command(cls=OfARun)
@run_argument
@click.option(
    "--count",
    metavar="COUNTS",
    help="Numbers of players to remove, as 1-4 or 2,4,8. [default: what RUN was made with]",
)
@click.option(
    "--contiguous", is_flag=True, help="Only sets of players that follow each other without a gap."
)
@click.option(
    "--nested", is_flag=True, help="Every set holds the smaller ones: one order of removal."
)
@refused_remove
def search(run: Path, count: str | None, contiguous: bool, nested: bool) -> None:
    """Search for the best sets to remove from the model of RUN.

    Candidates are measured on the real model. The search ends before its budget is spent once the
    best sets have lasted and a better one is unlikely.
    """
    from layershap.runs.workspace import open_workspace
    from layershap.stages.search import search as stage

    config, directory = read_run(run)
    changed: dict[str, Any] = {} if count is None else {"count": count}
    changed |= {"contiguous": True} if contiguous else {}
    changed |= {"nested": True} if nested else {}
    with open_workspace(config.changed(**changed), directory, Console()) as work:
        stage(work)
    click.echo(f"Next: layershap verify {run}")
