"""What every command on somebody's game shares: where the game is, its seed, its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from layershap.errors import UserError

if TYPE_CHECKING:
    from layershap.games.measured_file import MeasuredFile
    from shapley import Game

__all__ = ["GameSource", "game_options"]

MOST_SEED = 2**63 - 1

Command = Callable[..., Any]


def game_options(command: Command) -> Command:
    """Add --table, --game, --seed, --players, --state and --json; the command gets a source.

    Args:
        command: called with `source`, a `GameSource`, with `json_wanted`, and with its own options.
    """

    @wraps(command)
    def called(
        table: Path | None,
        game: str | None,
        seed: int,
        players: str | None,
        state: Path | None,
        **given: Any,
    ) -> Any:
        if (table is None) == (game is None):
            raise UserError(
                f"game {command.__name__}: name exactly one of --table FILE.npy and"
                " --game MODULE:NAME"
            )
        return command(GameSource(table, game, seed, players, state), **given)

    file = click.Path(path_type=Path, dir_okay=False)
    decorators = [
        click.option(
            "--table",
            metavar="FILE.npy",
            type=click.Path(path_type=Path),
            help="A game given by 2^n utilities; bit i of a position tells whether player i is"
            " kept.",
        ),
        click.option(
            "--game",
            metavar="MODULE:NAME",
            help="A game in a module of this directory or the path: an object with players that is"
            " called with boolean rows [B, n] (True = kept) and returns B utilities, a"
            " function that makes one, or a plain function of such rows.",
        ),
        click.option(
            "--seed", type=int, default=0, show_default=True, help="Of every random choice."
        ),
        click.option(
            "--players",
            metavar="NAMES",
            help="Names as a,b,c, a file of them, or how many there are.",
        ),
        click.option(
            "--state",
            metavar="FILE.npz",
            type=file,
            help="Keep everything measured in this file, and go on from what it holds.",
        ),
        click.option("--json", "json_wanted", is_flag=True, help="Print one JSON object."),
    ]
    decorated: Command = called
    for decorator in reversed(decorators):
        decorated = decorator(decorated)
    return decorated


@dataclass(frozen=True)
class GameSource:
    """A game as the command line names it.

    Attributes:
        table: a file of utilities; None for a game in a module.
        spec: module:name; None for a table.
        seed: of every random choice.
        players: what --players says.
        state: where everything measured is kept.
    """

    table: Path | None
    spec: str | None
    seed: int
    players: str | None
    state: Path | None

    @property
    def where(self) -> str:
        """Begins messages about the game."""
        return f"--table {self.table}" if self.table is not None else f"--game {self.spec}"

    def open(self) -> Game:
        """The game.

        Raises:
            UserError: the seed is out of range, or the game cannot be opened.
        """
        from layershap.games.module_game import load_game
        from layershap.games.names import parse_names
        from layershap.games.tables import MappedTable

        if not 0 <= self.seed <= MOST_SEED:
            raise UserError(f"--seed {self.seed}: must be from 0 to 2^63 - 1")
        names = parse_names(self.players)
        if self.table is not None:
            return MappedTable(self.table, names)
        return load_game(self.spec or "", names)

    def file(self, game: Game, method: str) -> MeasuredFile | None:
        """The file of --state for this game, if one is wanted."""
        from layershap.games.measured_file import MeasuredFile, identity

        if self.state is None:
            return None
        name = identity(game, self.spec or "")
        return MeasuredFile(self.state, name, tuple(game.players), method, self.seed)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Within this context Ctrl-C ends the command with a line that says what is kept."""
        try:
            yield
        except KeyboardInterrupt:
            kept = f"{self.state} keeps what was measured"
            kept = kept if self.state else "nothing is kept without --state"
            click.echo(f"layershap: interrupted; {kept}", err=True)
            raise click.exceptions.Exit(130) from None
