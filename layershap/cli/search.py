"""`layershap search`: sets to remove, of a run's model or of any game."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from layershap.cli.game_options import GameSource, game_options
from layershap.errors import UserError
from layershap.terminal.console import Console

__all__ = ["search"]

A_PLAYER = 40


@click.command()
@game_options
@click.option(
    "--remove",
    metavar="COUNTS",
    help="Numbers of players to remove, as 1-4 or 2,4,8. [default: 1 to a third of the players;"
    " of RUN, what it was made with]",
)
@click.option("--protect", metavar="PLAYERS", help="Players that stay, as a,b or 0,3.")
@click.option(
    "--contiguous", is_flag=True, help="Only sets of players that follow each other without a gap."
)
@click.option(
    "--nested", is_flag=True, help="Every set holds the smaller ones: one order of removal."
)
@click.option(
    "--budget",
    type=int,
    metavar="COALITIONS",
    help=f"Most distinct coalitions to evaluate, at least n + 2. [default: {A_PLAYER} a player]",
)
def search(
    run: Path | None, table: Path | None, game: str | None, json_wanted: bool, **given: Any
) -> None:
    """Search for the best sets to remove, measuring few of them.

    Of RUN: candidates are measured on its real model. Of --table or --game: for every count the
    best of the measured sets, and the chance that a better one was missed. The search ends before
    its budget is spent once the best sets have lasted and a better one is unlikely.
    """
    if sum(source is not None for source in (run, table, game)) != 1:
        raise UserError("search: name exactly one of RUN, --table FILE.npy and --game MODULE:NAME")
    if run is None:
        names = ("seed", "players", "state")
        _search_game(GameSource(table, game, *map(given.pop, names)), json_wanted, **given)
        return
    for name in ("protect", "budget", "seed", "players", "state"):
        if given[name]:
            raise UserError(f"--{name}: goes with --table or --game; RUN was made with its own")
    if json_wanted:
        raise UserError(
            f"--json: goes with --table or --game; RUN's sets are in {run}/candidates.json"
        )
    _search_run(run, given["remove"], given["contiguous"], given["nested"])


def _search_run(run: Path, remove: str | None, contiguous: bool, nested: bool) -> None:
    from layershap.cli.options import read_run
    from layershap.runs.workspace import open_workspace
    from layershap.stages.search import search as stage

    config, directory = read_run(run)
    changed: dict[str, Any] = {"remove": remove} if remove is not None else {}
    changed |= {"contiguous": True} if contiguous else {}
    changed |= {"nested": True} if nested else {}
    with open_workspace(config.model_copy(update=changed), directory, Console()) as work:
        stage(work)
    click.echo(f"Next: layershap verify {run}")


def _search_game(
    source: GameSource,
    json_wanted: bool,
    *,
    remove: str | None,
    protect: str | None,
    contiguous: bool,
    nested: bool,
    budget: int | None,
) -> None:
    from layershap.cli.found_sets import sets_as_json, show_sets
    from layershap.games.set_search import SetRequest, find_sets, make_limits, read_counts

    game = source.open()
    n = len(game.players)
    everything = 1 << n
    least = min(n + 2, everything)
    if budget is not None and budget < least:
        raise UserError(f"--budget {budget}: must be at least {least} for {n} players")
    budget = min(everything, A_PLAYER * n if budget is None else budget)
    limits = make_limits(game.players, protect, contiguous)
    request = SetRequest(read_counts(remove, limits), budget, source.seed, nested)
    console = Console()
    with source.interruptible(), console.progress("searching") as update:
        found = find_sets(
            game,
            request,
            limits,
            where=source.where,
            file=source.file(game, "search"),
            update=update,
        )
    if json_wanted:
        click.echo(json.dumps(sets_as_json(game.players, found, request)))
    else:
        show_sets(console, game.players, found, request)
