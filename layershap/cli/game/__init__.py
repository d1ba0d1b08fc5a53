"""`layershap game`: values and sets of any game, one file a subcommand."""

from __future__ import annotations

import click

from layershap.cli.groups import LazyGroup

__all__ = ["GAME_COMMANDS", "game"]

GAME_COMMANDS = {
    "values": "Shapley values with standard errors, from a budget of evaluations.",
    "search": "The best sets to remove, found with few evaluations.",
}


@click.command(cls=LazyGroup, room="layershap.cli.game", told=GAME_COMMANDS)
def game() -> None:
    """Compute values and search for sets in a game of your own.

    The game is a table of 2^n utilities (--table) or an object or a function in a module (--game).
    No model, no Ray and no run directory take part.
    """
