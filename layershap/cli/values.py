"""`layershap values`: what the layers of a run are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from layershap.cli.moved import OfARun
from layershap.cli.options import read_run, run_argument, value_options
from layershap.errors import UserError
from layershap.results.set_text import typed
from layershap.runs.config_file import changed_config
from layershap.terminal.console import Console

__all__ = ["values"]


@click.command(cls=OfARun)
@run_argument
@click.option(
    "--target-se",
    type=float,
    metavar="SE",
    help="Measure on until no value's standard error is larger: a share of the whole model, as"
    " 0.005, or nats with --value-of loss.",
)
@click.option(
    "--budget",
    type=int,
    metavar="EVALUATIONS",
    help="With --target-se: most distinct sets to measure.",
)
@value_options
def values(run: Path, target_se: float | None, budget: int | None, **given: Any) -> None:
    """Compute the Shapley values of the layers of RUN.

    Also their values when few are removed, and their interactions. Whatever --value-of and
    --at-most ask for is computed from what is measured, for values.json alone. With --target-se
    more sets are measured, up to --budget.
    """
    from layershap.results.value_text import value_text, values_title

    if budget is not None and target_se is None:
        raise UserError("--budget: goes with --target-se, as the most to measure; give both")
    console, (config, directory) = Console(), read_run(run)
    config = changed_config(config, {k: v for k, v in given.items() if v is not None})
    if target_se is not None and config.values.at_most is not None:
        raise UserError("--target-se: is of the Shapley values; leave --at-most out")
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
    shown, of = found.headline, found.value_of
    rows = [
        [
            name,
            value_text(shown.values[i], of),
            value_text(shown.lower[i], of),
            value_text(shown.upper[i], of),
        ]
        for i, name in enumerate(shown.players)
    ]
    headings = [config.noun, "value", "from", "to (95 %)"]
    console.table(values_title(found), headings, rows)
    click.echo(f"Next: {typed('search', run)}")
