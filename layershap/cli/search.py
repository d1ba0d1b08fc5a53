"""`layershap search`: sets to remove from the model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from layershap.cli.moved import OfARun, refused_remove
from layershap.cli.options import read_run, run_argument, search_options
from layershap.errors import UserError
from layershap.results.set_text import typed
from layershap.runs.config import RunConfig
from layershap.runs.directory import RunDirectory
from layershap.terminal.console import Console

__all__ = ["search"]


@click.command(cls=OfARun)
@run_argument
@click.option(
    "--count",
    metavar="COUNTS",
    help="Numbers of players to remove, as 1-4 or 2,4,8. [default: what RUN was made with]",
)
@search_options
@click.option(
    "--no-measuring",
    is_flag=True,
    help="Search what is measured and the surrogate alone, and name the sets to measure next.",
)
@refused_remove
def search(run: Path, count: str | None, no_measuring: bool, **given: bool | None) -> None:
    """Search for the best sets to remove from the model of RUN.

    Candidates are measured on the real model. The search ends before its budget is spent once the
    best sets have lasted and a better one is unlikely. Where the model, its text or its device is
    not at hand, what is measured is searched, and the sets to measure next are named.
    """
    from layershap.runs.recorded import open_recorded
    from layershap.stages.search import search_recorded

    config, directory = read_run(run)
    changed: dict[str, Any] = {} if count is None else {"count": count}
    changed |= {name: True for name, asked in given.items() if asked}
    config, console = config.changed(**changed), Console()
    if not no_measuring:
        reason = _searched_with_the_model(config, directory, console)
        if reason is None:
            click.echo(f"Next: {typed('verify', run)}")
            return
        console.warn(f"nothing is measured, since the model cannot be measured here: {reason}")
    with open_recorded(config, directory, console) as recorded, recorded.stage("search"):
        search_recorded(recorded)
    click.echo(f"Next, where the model is: {typed('search', run)}")


def _searched_with_the_model(
    config: RunConfig, directory: RunDirectory, console: Console
) -> str | None:
    """Why the model, its text or its device are not those of the run; None after the search."""
    from cluster.errors import CampaignMismatch
    from decoder.errors import ModelError, TaskError, TextError
    from layershap.runs.workspace import open_workspace
    from layershap.stages.search import search as stage

    with open_workspace(config, directory, console) as work:
        try:
            recorded = work.recorded
        except (ModelError, TextError, TaskError, CampaignMismatch, UserError) as error:
            return str(error).partition("; choose another")[0]
        with recorded.stage("search"):
            stage(work)
    return None
