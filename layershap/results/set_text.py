"""A set of removed players as a person writes it on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["export_command", "removal_text"]


def removal_text(players: Sequence[str], removed: Iterable[int]) -> str:
    """Players by name as `--remove` takes them: 4,6 or L4.attn,L6.mlp."""
    names = [players[player] for player in removed]
    return ",".join(name.removeprefix("L") if "." not in name else name for name in names)


def export_command(run: Path, names: str) -> str:
    """The command that writes the checkpoint of a run without these players."""
    return f"layershap export {run} --remove {names} --to {run}-without-{names.replace(',', '-')}"
