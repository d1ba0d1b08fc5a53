"""Options that have moved or are called otherwise: refused in one line that says what to type."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click

from layershap.errors import UserError
from layershap.results.set_text import parse_counts

__all__ = ["OfARun", "refused_counts", "refused_remove"]

Command = Callable[..., Any]

_OPENS_A_GAME = ("--table", "--game")
_OF_A_GAME = ("--seed", "--players", "--state", "--json", "--method", "--protect")


class OfARun(click.Command):
    """A command on a run; refuses what the command of its name on a game of one's own takes."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line.

        Raises:
            UserError: an option of `layershap game` is among the arguments.
        """
        own = {option for parameter in self.params for option in parameter.opts}
        options = [word.partition("=")[0] for word in args]
        for option in _OPENS_A_GAME:
            if option in options:
                words = ["--count" if word == "--remove" else word for word in args]
                raise UserError(
                    f"{option}: is an option of layershap game {self.name} now; write "
                    + shlex.join(["layershap", "game", str(self.name), *words])
                )
        for option in options:
            if option in _OF_A_GAME and option not in own:
                raise UserError(
                    f"{option}: goes with layershap game {self.name}; RUN was made with its own,"
                    " leave it out"
                )
        return super().parse_args(ctx, args)


def refused_remove(command: Command) -> Command:
    """Refuse --remove where numbers of players are meant, and name --count."""

    def refuse(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise UserError(
                f"--remove {value}: names players; numbers of players are --count, as"
                f" --count {_as_counts(value)}"
            )

    return _hidden("--remove", refuse)(command)


def refused_counts(command: Command) -> Command:
    """Refuse --counts, and name --count."""

    def refuse(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise UserError(f"--counts {value}: is called --count now; write --count {value}")

    return _hidden("--counts", refuse)(command)


def _hidden(option: str, refuse: Callable[..., None]) -> Callable[[Command], Command]:
    return click.option(
        option, hidden=True, expose_value=False, is_eager=True, callback=refuse, metavar="COUNTS"
    )


def _as_counts(text: str) -> str:
    """The text where it can be numbers of players, else an example."""
    try:
        parse_counts(text)
    except ValueError:
        return "1-3"
    return text
