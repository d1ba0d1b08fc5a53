"""`layershap values`: what the layers of a run are worth."""

from __future__ import annotations

import math
from pathlib import Path

import click

from layershap.cli.moved import OfARun
from layershap.cli.options import read_run, run_argument
from layershap.errors import UserError
from layershap.terminal.console import Console

__all__ = ["values"]


@click.command(cls=OfARun)
@run_argument
@click.option(
    "--target-se",
    type=float,
    metavar="SE",
    help="Measure on until no value's standard error is larger, in units of the utility.",
)
@click.option(
    "--budget",
    type=int,
    metavar="EVALUATIONS",
    help="With --target-se: most distinct sets to measure.",
)
def values(run: Path, target_se: float | None, budget: int | None) -> None:
    """Compute the Shapley values of the layers of RUN.

    Also their values when few are removed, and their interactions. With --target-se more sets are
    measured, up to --budget.
    """
    if budget is not None and target_se is None:
        raise UserError("--budget: goes with --target-se, as the most to measure; give both")
    console, (config, directory) = Console(), read_run(run)
    if target_se is None:
        from layershap.runs.recorded import open_recorded
        from layershap.stages.values import values as stage

        with open_recorded(config, directory, console) as recorded, recorded.stage("values"):
            found = stage(recorded)
    else:
        from layershap.runs.workspace import open_workspace
        from layershap.stages.until import values_until

        with open_workspace(config, directory, console) as work, work.recorded.stage("values"):
            reached = values_until(work, target_se, budget)
            found = reached.values
            if not reached.reached:
                advised = reached.advised
                told = "" if advised is None else f"; about {advised} would reach it"
                console.warn(
                    f"--target-se {target_se:g} is not reached with {reached.evaluations} sets"
                    f"{told}; raise --budget"
                )
    shapley = found.shapley
    columns = (shapley.values, shapley.lower, shapley.upper)
    rows = [
        [name, *(f"{c[i]:+.4f}" if math.isfinite(c[i]) else "–" for c in columns)]
        for i, name in enumerate(shapley.players)
    ]
    headings = [config.noun, "value", "from", "to (95 %)"]
    console.table(f"Shapley values, {found.unit}", headings, rows)
    click.echo(f"Next: layershap search {run}")
