"""`layershap baselines`: published methods on the model and the text of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from layershap.cli.options import read_run
from layershap.errors import UserError
from layershap.results.baseline_sets import BaselineSets, MethodSets
from layershap.results.candidates import CANDIDATES
from layershap.terminal.console import Console

__all__ = ["baselines"]

_COUNTS_A_TABLE = 6


@click.command()
@click.argument(
    "run", required=False, type=click.Path(path_type=Path, file_okay=False), metavar="RUN"
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="SLUG",
    help="A method, see --list; repeat for several. [default: all that can run here]",
)
@click.option(
    "--budget",
    type=click.IntRange(min=2),
    metavar="EVALUATIONS",
    help="Evaluations for each method that can spend any number. [default: the run's budget]",
)
@click.option(
    "--counts",
    metavar="COUNTS",
    help="Numbers of players to remove, as 1-4 or 2,4,8. [default: the run's]",
)
@click.option("--list", "list_wanted", is_flag=True, help="Name the methods and end.")
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
def baselines(
    run: Path | None,
    methods: tuple[str, ...],
    budget: int | None,
    counts: str | None,
    list_wanted: bool,
    json_wanted: bool,
) -> None:
    """Find and measure the sets that published methods would remove from the model of RUN.

    Each method gets the same model and calibration text, and what it evaluates is kept in the
    ledger of RUN. RUN/baselines.json takes their sets, what they needed and how good they are;
    methods that are in it already are not run again.
    """
    if list_wanted:
        _list(json_wanted)
        return
    if run is None:
        raise UserError("baselines: name RUN, the directory of a run, or --list")
    from layershap.runs.workspace import open_workspace
    from layershap.stages.baselines import run_baselines

    config, directory = read_run(run)
    console = Console()
    with open_workspace(config, directory, console) as work:
        n = len(work.players)
        wanted = config.counts(n)
        if counts is not None:
            search = config.search.model_copy(update={"count": counts})
            wanted = _counts(config.model_copy(update={"search": search}), n)
        names = None if not methods or "all" in methods else methods
        found = run_baselines(work, names, wanted, budget)
        noun, unit, tokens = config.noun, work.utility.unit, work.texts.calibration.tokens.size
    if json_wanted:
        click.echo(directory.baselines.read_text(encoding="utf-8").rstrip())
        return
    own = _own(directory.path, tokens)
    for first in range(0, len(wanted), _COUNTS_A_TABLE):
        some = wanted[first : first + _COUNTS_A_TABLE]
        _table(console, found, own, some, f"Cost in {unit} by number of {noun}s removed")
    click.echo(f"All of it: {directory.baselines}")


def _counts(config: Any, n: int) -> list[int]:
    try:
        return config.counts(n)
    except UserError as error:
        raise UserError(str(error).replace("--count", "--counts", 1)) from None


def _list(json_wanted: bool) -> None:
    from layershap.methods.catalog import BASELINES

    if json_wanted:
        rows = [
            {"name": b.name, "slug": b.slug, "source": b.source, "needs": b.needs}
            for b in BASELINES
        ]
        click.echo(json.dumps(rows))
        return
    for baseline in BASELINES:
        click.echo(f"{baseline.slug}")
        click.echo(f"    {baseline.name}: {baseline.source}")
        click.echo(f"    needs {baseline.needs}")


def _own(run: Path, tokens: int) -> MethodSets | None:
    """The run's own best sets, as a method."""
    found = CANDIDATES.found(run)
    if found is None:
        return None
    return MethodSets(
        source="",
        evaluations=found.spent,
        tokens=found.spent * tokens,
        budget=None,
        seconds=0.0,
        sets={count: best.removed for count, best in found.chosen.items()},
        utilities={count: best.utility for count, best in found.chosen.items()},
    )


def _table(
    console: Console, found: BaselineSets, own: MethodSets | None, counts: Sequence[int], title: str
) -> None:
    methods = {} if own is None else {"this run": own}
    dense = found.dense or 0.0
    rows = []
    for name, method in (methods | dict(found.methods)).items():
        utilities = [method.utilities.get(count) for count in counts]
        if any(utility is not None for utility in utilities):
            rows.append(
                [
                    name,
                    f"{method.evaluations:,}",
                    f"{method.tokens:,}",
                    *("–" if u is None else f"{dense - u:+.4f}" for u in utilities),
                ]
            )
    console.table(title, ["method", "evaluations", "model tokens", *map(str, counts)], rows)
