"""`layershap values`: what the layers of a run are worth, or the players of any game."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from layershap.cli.game_options import GameSource, game_options
from layershap.errors import UserError
from layershap.terminal.console import Console

__all__ = ["values"]

A_PLAYER = 25
MOST_FOR_A_TARGET = 20_000


@click.command()
@game_options
@click.option(
    "--budget",
    type=int,
    metavar="COALITIONS",
    help="Distinct coalitions to evaluate, at least n + 2; all 2^n give exact values. [default:"
    f" {A_PLAYER} a player, all of a table; with --target-se at most {MOST_FOR_A_TARGET:,}]",
)
@click.option(
    "--method",
    default="default",
    show_default=True,
    metavar="NAME",
    help="Estimator: default, corrected, surrogate, unbiased, regression, permutation,"
    " stratified, neyman or exact.",
)
@click.option(
    "--target-se",
    type=float,
    metavar="SE",
    help="Go on until no value's standard error is larger, in units of the utility.",
)
def values(
    run: Path | None, table: Path | None, game: str | None, json_wanted: bool, **given: Any
) -> None:
    """Compute Shapley values, of RUN or of a game of your own.

    Of RUN: Shapley values, size-restricted values and interactions of its layers; with
    --target-se more coalitions are measured, up to --budget. Of --table or --game: Shapley values
    with standard errors from a budget of evaluations. The full coalition is evaluated once more
    at the end, which is not counted, and a game that answers differently is refused.
    """
    if sum(source is not None for source in (run, table, game)) != 1:
        raise UserError("values: name exactly one of RUN, --table FILE.npy and --game MODULE:NAME")
    if run is None:
        source = GameSource(table, game, given["seed"], given["players"], given["state"])
        measures = given["budget"], given["method"], given["target_se"]
        _values_of_game(source, json_wanted, *measures)
        return
    target, budget = given.pop("target_se"), given.pop("budget")
    if budget is not None and target is None:
        raise UserError("--budget: with RUN it goes with --target-se, as the most to measure")
    for name, value in (*given.items(), ("json", json_wanted or None)):
        if value not in (None, 0, "default"):
            raise UserError(
                f"--{name.replace('_', '-')}: goes with --table or --game, not with RUN"
            )
    _values_of_run(run, target, budget)


def _values_of_run(run: Path, target: float | None, budget: int | None) -> None:
    from layershap.cli.options import read_run
    from layershap.runs.workspace import open_workspace
    from layershap.stages.until import values_until
    from layershap.stages.values import values as stage

    console = Console()
    with open_workspace(*read_run(run), console) as work:
        noun = work.config.noun
        if target is None:
            found = stage(work.recorded)
        else:
            reached = values_until(work, target, budget)
            found = reached.values
            if not reached.reached:
                told = (
                    "" if reached.advised is None else f"; about {reached.advised} would reach it"
                )
                console.warn(
                    f"--target-se {target:g} is not reached with {reached.evaluations} coalitions"
                    f"{told}; raise --budget"
                )
    shapley = found.shapley
    columns = (shapley.values, shapley.lower, shapley.upper)
    rows = [
        [name, *(f"{c[i]:+.4f}" if math.isfinite(c[i]) else "–" for c in columns)]
        for i, name in enumerate(shapley.players)
    ]
    headings = [noun, "value", "from", "to (95 %)"]
    console.table(f"Shapley values, {found.unit}", headings, rows)
    click.echo(f"Next: layershap search {run}")


def _values_of_game(
    source: GameSource, json_wanted: bool, budget: int | None, method: str, target: float | None
) -> None:
    from layershap.cli.outcomes import advice, as_json, show
    from layershap.games.estimating import Request, estimate_values
    from layershap.games.estimators import make_estimator

    if target is not None and not (math.isfinite(target) and target > 0):
        raise UserError(f"--target-se {target:g}: must be a positive number of utility units")
    if target is not None and method == "exact":
        raise UserError("--target-se: exact values have no errors; leave it or --method exact out")
    estimator = make_estimator(method)
    game = source.open()
    allowed = _budget(budget, len(game.players), method, source.table is not None, target)
    console = Console()
    with source.interruptible(), console.progress("measuring") as update:
        outcome = estimate_values(
            game,
            estimator,
            Request(allowed, source.seed, target),
            where=source.where,
            file=source.file(game, method),
            update=update,
        )
    if json_wanted:
        click.echo(json.dumps(as_json(outcome)))
    else:
        show(console, outcome)
    if outcome.reached is False:
        console.warn(advice(outcome))


def _budget(given: int | None, n: int, method: str, of_table: bool, target: float | None) -> int:
    """The number of evaluations: as given, or a sensible one."""
    from shapley.indices.exact import MOST_PLAYERS

    everything = 1 << n
    least = min(n + 2, everything)
    if method == "exact" and given is not None and given < everything:
        raise UserError(
            f"--budget {given}: --method exact evaluates all 2^n = {everything:,} coalitions; leave"
            " --budget out, or choose another method"
        )
    if given is not None:
        if given < least:
            rule = f"n + 2 = {least}" if least == n + 2 else f"2^n = {least}"
            raise UserError(f"--budget {given}: must be at least {rule} for {n} players")
        if given >= everything and n > MOST_PLAYERS:
            raise UserError(
                f"--budget {given}: all coalitions are enumerated up to {MOST_PLAYERS} players,"
                f" here are {n}; give a budget below 2^{n}"
            )
        return given
    if method == "exact":
        return everything
    if target is not None:
        return (
            min(everything, max(MOST_FOR_A_TARGET, least))
            if n <= MOST_PLAYERS
            else MOST_FOR_A_TARGET
        )
    if of_table and n <= MOST_PLAYERS:
        return everything
    return min(everything, max(A_PLAYER * n, least))
