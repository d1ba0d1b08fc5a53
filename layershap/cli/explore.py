"""`layershap explore`: a page to try out sets of layers on, as one file to share."""

from __future__ import annotations

from pathlib import Path

import click

from layershap.cli.options import read_run, run_argument

__all__ = ["explore"]


@click.command()
@run_argument
@click.option(
    "--to",
    "destination",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write. [default: RUN/explorer.html]",
)
def explore(run: Path, destination: Path | None) -> None:
    """Write a page that predicts any set of RUN's players as one clicks.

    It is one file that works without a server and without a network: the surrogate is evaluated in
    the browser.
    """
    from layershap.explorer import export_explorer

    config, directory = read_run(run)
    path = destination or run / "explorer.html"
    size = export_explorer(config, directory, path)
    click.echo(f"{path}: {size / 1e3:,.0f} kB; open it in a browser")
