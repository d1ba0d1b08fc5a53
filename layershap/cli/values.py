"""`layershap values`: what the layers of a run are worth."""

from __future__ import annotations

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
    from layershap.runs.workspace import open_workspace
    from layershap.stages.until import values_until
    from layershap.stages.values import values as stage

    console = Console()
    with open_workspace(*read_run(run), console) as work:
        noun = work.config.noun
        if target_se is None:
            content = stage(work)
        else:
            found = values_until(work, target_se, budget)
            content = found.content
            if not found.reached:
                told = "" if found.advised is None else f"; about {found.advised} would reach it"
                console.warn(
                    f"--target-se {target_se:g} is not reached with {found.evaluations} sets"
                    f"{told}; raise --budget"
                )
    shapley = content["shapley"]
    rows = [
        [name, *(f"{shapley[c][i]:+.4f}" if shapley[c][i] is not None else "–" for c in _COLUMNS)]
        for i, name in enumerate(shapley["players"])
    ]
    headings = [noun, "value", "from", "to (95 %)"]
    console.table(f"Shapley values, {content['unit']}", headings, rows)
    click.echo(f"Next: layershap search {run}")


_COLUMNS = ("values", "lower", "upper")
