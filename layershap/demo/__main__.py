"""`python -m layershap.demo train`: make the embedded model again."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import click

from layershap.demo import MODEL_DIRECTORY


@click.group()
def main() -> None:
    """The embedded demo model."""


@main.command()
@click.option(
    "--steps", type=click.IntRange(min=1), help="Optimiser steps [default: the recipe's]."
)
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("work/demo"),
    show_default=True,
    help="Folder of token cache, checkpoints and log; an interrupted run goes on from it.",
)
@click.option(
    "--destination",
    type=click.Path(path_type=Path),
    default=MODEL_DIRECTORY,
    show_default=True,
    help="Folder that the finished model is written to.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    help="Processes of one thread that share each batch [default: one a core].",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Steps between checkpoints.",
)
def train(steps: int | None, work: Path, destination: Path, processes: int, every: int) -> None:
    """Train the embedded model on this machine's Python library (hours on 2 cores)."""
    from decoder.errors import ModelError
    from layershap.demo.train import Recipe
    from layershap.demo.train import train as run

    recipe = Recipe() if steps is None else dataclasses.replace(Recipe(), steps=steps)
    try:
        run(recipe, work, destination, processes=processes, every=every)
    except ModelError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
