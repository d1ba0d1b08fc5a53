"""What a refused command says: one line, its fields, and its wording as it was last agreed on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layershap.errors import UserError
from tests.support.command_line import call

__all__ = ["SNAPSHOTS", "Refusal", "Wording", "agreed_lines", "refused", "wording"]

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


class Refusal(str):
    """The one line of a refused command.

    Attributes:
        arguments: what was typed, without `layershap`.
        option: the option at fault; also `value`, `rule` and `remedy`, as `UserError` has them.
    """

    arguments: tuple[str, ...]
    option: str
    value: str
    rule: str
    remedy: str

    def __new__(cls, line: str, arguments: tuple[Any, ...]) -> Refusal:
        self = super().__new__(cls, line)
        self.arguments = tuple(map(str, arguments))
        fields = UserError(line)
        self.option, self.value = fields.option, fields.value
        self.rule, self.remedy = fields.rule, fields.remedy
        return self


def refused(*arguments: object, status: int = 2) -> Refusal:
    """Run a command that must be refused: nothing printed, one line of reason, no traceback."""
    code, out, err = call(*arguments)
    assert code == status, err
    assert out == ""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("layershap: ")]
    return Refusal(line.removeprefix("layershap: "), arguments)


class Wording:
    """The lines of one command in `tests/snapshots/COMMAND.txt`, each below what was typed.

    Args:
        folder: where the files are.
        temporary: the session's temporary directory; what is in it reads `TMP/...`.
        update: write lines instead of comparing them.
    """

    def __init__(self, folder: Path, temporary: Path, update: bool) -> None:
        self.folder = folder
        self.update = update
        self._hidden = re.compile(rf"{re.escape(str(temporary))}/[^/\s:;,()']+")

    def __call__(self, line: str, *arguments: object) -> None:
        """Compare a line with the agreed one.

        Args:
            line: a `Refusal`, or any line together with its arguments.
            arguments: the command and what was given to it.
        """
        typed = [str(word) for word in arguments or getattr(line, "arguments", ())]
        shown = self._shown(" ".join(typed))
        file = self.folder / f"{typed[0]}.txt"
        agreed = agreed_lines(file)
        if self.update and agreed.get(shown) != self._shown(line):
            agreed[shown] = self._shown(line)
            text = "\n".join(f"$ {typed}\n{line}\n" for typed, line in sorted(agreed.items()))
            file.write_text(text, encoding="utf-8")
        assert shown in agreed, f"{file.name} has no {shown!r}; run pytest --update-snapshots"
        assert self._shown(line) == agreed[shown], "if it is meant so: pytest --update-snapshots"

    def _shown(self, text: str) -> str:
        return self._hidden.sub("TMP", " ".join(text.split()))


def agreed_lines(file: Path) -> dict[str, str]:
    """The lines of a snapshot file by what was typed."""
    if not file.exists():
        return {}
    entries = file.read_text(encoding="utf-8").removeprefix("$ ").strip().split("\n\n$ ")
    pairs = (entry.partition("\n") for entry in entries)
    return {typed: line for typed, _, line in pairs}


@pytest.fixture(scope="session")
def wording(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., None]:
    """Compares a refusal with the snapshot of its command, or writes it (--update-snapshots)."""
    temporary = tmp_path_factory.getbasetemp()
    update = bool(request.config.getoption("--update-snapshots"))
    return Wording(SNAPSHOTS, temporary, update)
