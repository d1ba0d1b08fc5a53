"""Sets of players, and numbers of players, as a person writes them on the command line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from layershap.errors import UserError

__all__ = [
    "export_command",
    "export_method_command",
    "parse_counts",
    "parse_set",
    "removal_text",
    "typed",
]

_MOST_COUNTED = 100_000  # no model has so many players


def removal_text(players: Sequence[str], removed: Iterable[int]) -> str:
    """Players by name as `--remove` takes them: 4,6 or L4.attn,L6.mlp."""
    names = [players[player] for player in removed]
    return ",".join(name.removeprefix("L") if "." not in name else name for name in names)


def typed(*words: object) -> str:
    """A layershap command as a shell takes it, whatever its paths hold."""
    return shlex.join(["layershap", *map(str, words)])


def export_command(run: Path, names: str) -> str:
    """The command that writes the checkpoint of a run without these players."""
    to = f"{run}-without-{names.replace(',', '-')}"
    return typed("export", run, "--remove", names, "--to", to)


def export_method_command(run: Path, count: int, method: str) -> str:
    """The command that writes a method's verified model, which may be more than players left out.

    Args:
        run: the run's directory.
        count: players removed.
        method: the method's name.
    """
    from shapley.baselines.method import slug  # numpy, which the command line does without

    name = slug(method)
    to = f"{run}-{name}-{count}"
    return typed("export", run, "--count", count, "--method", name, "--to", to)


def parse_set(text: str, option: str, find: Callable[[str], Sequence[int]]) -> list[int]:
    """Read player indices from a text such as `4,6`, `0-3` or `L4.attn`.

    Args:
        text: what a person wrote.
        option: where, as ``--remove``.
        find: indices of the players that a text names, a ValueError where it names none.

    Raises:
        UserError: it names no players, or unknown ones.
    """
    try:
        return list(find(text))
    except ValueError as error:
        raise UserError(f"{option} {text}: {error}") from None


def parse_counts(text: str) -> list[int]:
    """Sorted counts of a text such as `1-4` or `2,4,8`."""
    counts: set[int] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        first, last = int(low), int(high or low)
        if last < first or last > _MOST_COUNTED:
            raise ValueError(f"{part}: empty range, or more than any model has")
        counts.update(range(first, last + 1))
    return sorted(counts)
