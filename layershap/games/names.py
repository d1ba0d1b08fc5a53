"""Names of players, as people give them: on the command line, in a file, with their game."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from layershap.errors import UserError
from shapley.game import default_players

__all__ = ["checked_names", "fitting_names", "parse_names"]


def parse_names(text: str | None) -> tuple[str, ...] | int | None:
    """Reads ``--players``: a file of names (one a line), names with commas, or how many there are.

    Raises:
        UserError: if there are no names, or the file cannot be read.
    """
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    if os.path.isfile(text):
        try:
            text = Path(text).read_text(encoding="utf-8").replace("\n", ",")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"--players {text}: cannot be read ({error}); name a text file"
            ) from None
    names = tuple(name for part in text.split(",") if (name := part.strip()))
    if not names:
        raise UserError("--players: holds no names; write them as a,b,c or one a line in a file")
    return names


def checked_names(players: Any, where: str) -> tuple[str, ...]:
    """Returns names from names or from how many there are.

    Args:
        players: what a game says its players are.
        where: begins the messages, as ``--game module:name``.

    Raises:
        UserError: if they are neither, or a name is there twice.
    """
    if isinstance(players, int | np.integer) and not isinstance(players, bool):
        if players < 1:
            raise UserError(f"{where}: must have at least 1 player, got {players}")
        return default_players(int(players))
    listed = list(players) if isinstance(players, list | tuple | np.ndarray) else []
    names = tuple(str(name) for name in listed if isinstance(name, str))
    if not names or len(names) != len(listed):
        raise UserError(f"{where}: players must be names or how many there are, got {players!r}")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{where}: players has {twice!r} twice; give each a name of its own")
    return names


def fitting_names(players: Sequence[str] | int | None, n: int) -> tuple[str, ...]:
    """Returns what ``--players`` says, or ``p0, p1, ...`` if it says nothing.

    Raises:
        UserError: if it does not name all ``n`` players of the game, each once.
    """
    names = default_players(n) if players is None else checked_names(players, "--players")
    if len(names) != n:
        raise UserError(f"--players: must name all {n} players of the game, got {len(names)}")
    return names
