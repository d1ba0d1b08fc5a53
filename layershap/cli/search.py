"""`layershap search`: sets to remove, of a run's model or of any game."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from layershap.console import Console
from layershap.errors import UserError

__all__ = ["search"]

A_PLAYER = 40
MOST_SEED = 2**63 - 1
FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument(
    "run", required=False, type=click.Path(path_type=Path, file_okay=False), metavar="[RUN]"
)
@click.option(
    "--table",
    metavar="FILE.npy",
    type=click.Path(path_type=Path),
    help="A game given by 2^n utilities; bit i of a position tells whether player i is kept.",
)
@click.option(
    "--game",
    metavar="MODULE:NAME",
    help="A game in a module of this directory or the path: an object with players that is called"
    " with boolean coalitions [B, n] (True = kept) and returns B utilities, a function that makes"
    " one, or a plain function of coalitions.",
)
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
@click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice.")
@click.option(
    "--players", metavar="NAMES", help="Names as a,b,c, a file of them, or how many there are."
)
@click.option(
    "--state",
    metavar="FILE.npz",
    type=FILE,
    help="Keep everything measured in this file, and go on from what it holds.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object.")
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
        _search_game(table, game, json_wanted, **given)
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
    from layershap.stages.search import search as stage
    from layershap.workspace import open_workspace

    config, directory = read_run(run)
    changed: dict[str, Any] = {"remove": remove} if remove is not None else {}
    changed |= {"contiguous": True} if contiguous else {}
    changed |= {"nested": True} if nested else {}
    with open_workspace(config.model_copy(update=changed), directory, Console()) as work:
        stage(work)
    click.echo(f"Next: layershap verify {run}")


def _search_game(
    path: Path | None,
    spec: str | None,
    json_wanted: bool,
    *,
    remove: str | None,
    protect: str | None,
    contiguous: bool,
    nested: bool,
    budget: int | None,
    seed: int,
    players: str | None,
    state: Path | None,
) -> None:
    from layershap.cli.found_sets import sets_as_json, show_sets
    from layershap.games import load_game
    from layershap.measured_file import MeasuredFile, identity
    from layershap.names import parse_names
    from layershap.set_search import SetRequest, find_sets, make_limits, read_counts
    from layershap.tables import MappedTable

    if not 0 <= seed <= MOST_SEED:
        raise UserError(f"--seed {seed}: must be from 0 to 2^63 - 1")
    names = parse_names(players)
    found = MappedTable(path, names) if path is not None else load_game(spec or "", names)
    n = len(found.players)
    everything = 1 << n
    least = min(n + 2, everything)
    if budget is not None and budget < least:
        raise UserError(f"--budget {budget}: must be at least {least} for {n} players")
    budget = min(everything, A_PLAYER * n if budget is None else budget)
    limits = make_limits(found.players, protect, contiguous)
    request = SetRequest(read_counts(remove, limits), budget, seed, nested)
    file = None
    if state is not None:
        name = identity(found, spec or "")
        file = MeasuredFile(state, name, tuple(found.players), "search", seed)
    console = Console()
    where = f"--table {path}" if path is not None else f"--game {spec}"
    try:
        with console.progress("searching") as update:
            sets = find_sets(found, request, limits, where=where, file=file, update=update)
    except KeyboardInterrupt:
        kept = f"{state} keeps what was measured" if state else "nothing is kept without --state"
        click.echo(f"layershap: interrupted; {kept}", err=True)
        raise click.exceptions.Exit(130) from None
    if json_wanted:
        click.echo(json.dumps(sets_as_json(found.players, sets, request)))
    else:
        show_sets(console, found.players, sets, request)
