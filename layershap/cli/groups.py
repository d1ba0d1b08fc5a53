"""A group of commands that imports a subcommand's file when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """Lists subcommands in the order they are used in, and imports only the one that runs."""

    def __init__(
        self,
        *args: Any,
        room: str,
        told: Mapping[str, str],
        homes: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Create a group.

        Args:
            args: of `click.Group`.
            room: package of the subcommands' files.
            told: what each subcommand does, in the order of the help.
            homes: file of a subcommand where it is not called as the subcommand.
            kwargs: of `click.Group`.
        """
        super().__init__(*args, **kwargs)
        self.room, self.told, self.homes = room, told, homes or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands' names."""
        return list(self.told)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand; None where there is no such one."""
        if cmd_name not in self.told:
            return None
        home = self.homes.get(cmd_name, cmd_name)
        return getattr(import_module(f"{self.room}.{home}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each subcommand does, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.told.items()))
