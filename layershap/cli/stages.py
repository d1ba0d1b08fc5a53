"""`layershap fit|verify|report RUN`: one stage on the directory of a run."""

from __future__ import annotations

import math
from pathlib import Path

import click

from layershap.cli.options import read_run, run_argument
from layershap.results.set_text import typed
from layershap.terminal.console import Console

__all__ = ["fit", "report", "verify"]


@click.command()
@run_argument
def fit(run: Path) -> None:
    """Fit the surrogate to the measured sets of RUN and score it held out."""
    from layershap.results.candidates import CANDIDATES
    from layershap.runs.recorded import open_recorded
    from layershap.stages.fit import fit as stage

    with open_recorded(*read_run(run), Console()) as recorded, recorded.stage("fit"):
        # Before the search it is the fit of a whole run, which the search ends with another one.
        stage(recorded, first=CANDIDATES.found(run) is None)
    click.echo(f"Next: {typed('values', run)}")


@click.command()
@run_argument
def verify(run: Path) -> None:
    """Measure the chosen sets and the baselines on held-out text, and time them."""
    from layershap.runs.workspace import open_workspace
    from layershap.stages.pipeline import recommendation_table
    from layershap.stages.verify import verify as stage

    console = Console()
    with open_workspace(*read_run(run), console) as work, work.recorded.stage("verify"):
        verified = stage(work)
    recommendation_table(console, verified)
    click.echo(f"Next: {typed('report', run)}")


@click.command()
@run_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json"]),
    default="html",
    show_default=True,
    help="A page to look at, Markdown, or JSON; all say the same.",
)
def report(run: Path, form: str) -> None:
    """Write RUN/report.html (or .md, .json) from what the other stages left."""
    from layershap.runs.command_line import run_command
    from layershap.runs.recorded import open_recorded
    from layershap.stages.report import report as stage

    with open_recorded(*read_run(run), Console()) as recorded, recorded.stage("report"):
        # How long the run took is not known any more.
        command = run_command(recorded.config, run)
        path = stage(recorded, command=command, seconds=math.nan, form=form)
    click.echo(f"Report: {path}")
