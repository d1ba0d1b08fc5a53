"""`layershap game search`: sets to remove in any game."""

from __future__ import annotations

import json

import click

from layershap.cli.game.source import GameSource, game_options
from layershap.cli.moved import refused_remove
from layershap.errors import UserError
from layershap.terminal.console import Console

__all__ = ["search"]

A_PLAYER = 40


@click.command()
@game_options
@click.option(
    "--count",
    metavar="COUNTS",
    help="Numbers of players to remove, as 1-4 or 2,4,8. [default: 1 to a third of the players]",
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
    metavar="EVALUATIONS",
    help=f"Most distinct sets to evaluate, at least n + 2. [default: {A_PLAYER} a player]",
)
@refused_remove
def search(
    source: GameSource,
    json_wanted: bool,
    count: str | None,
    protect: str | None,
    contiguous: bool,
    nested: bool,
    budget: int | None,
) -> None:
    """Search a game for the best sets to remove, measuring few of them.

    For every count it names the best of the measured sets, and the chance that a better one was
    missed. The search ends before its budget is spent once the best sets have lasted and a better
    one is unlikely.
    """
    from layershap.cli.game.found_sets import sets_as_json, show_sets
    from layershap.games.set_search import SetRequest, find_sets, make_limits, read_counts

    game = source.open()
    n = len(game.players)
    everything = 1 << n
    least = min(n + 2, everything)
    if budget is not None and budget < least:
        raise UserError(f"--budget {budget}: must be at least {least} for {n} players")
    budget = min(everything, A_PLAYER * n if budget is None else budget)
    limits = make_limits(game.players, protect, contiguous)
    request = SetRequest(read_counts(count, limits), budget, source.seed, nested)
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
