"""`layershap fit|verify|report RUN`: one stage on the directory of a run."""

from __future__ import annotations

import time
from pathlib import Path

import click

from layershap.cli.options import read_run, run_argument
from layershap.console import Console

__all__ = ["fit", "report", "verify"]


@click.command()
@run_argument
def fit(run: Path) -> None:
    """Fit the surrogate to the measured coalitions of RUN and score it held out."""
    from layershap.stages.fit import fit as stage
    from layershap.workspace import open_workspace

    with open_workspace(*read_run(run), Console()) as work:
        stage(work)
    click.echo(f"Next: layershap values {run}")


@click.command()
@run_argument
def verify(run: Path) -> None:
    """Measure the chosen sets and the baselines on held-out text, and time them."""
    from layershap.pipeline import recommendation_table
    from layershap.stages.verify import verify as stage
    from layershap.workspace import open_workspace

    console = Console()
    with open_workspace(*read_run(run), console) as work:
        content = stage(work)
    recommendation_table(console, content)
    click.echo(f"Next: layershap report {run}")


@click.command()
@run_argument
def report(run: Path) -> None:
    """Write RUN/report.html from what the other stages left."""
    from layershap.stages.report import report as stage
    from layershap.workspace import open_workspace

    started = time.monotonic()
    with open_workspace(*read_run(run), Console()) as work:
        path = stage(work, command=f"layershap report {run}", seconds=time.monotonic() - started)
    click.echo(f"Report: {path}")
