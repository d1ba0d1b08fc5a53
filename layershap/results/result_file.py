"""How a result is kept in a run directory: one JSON file, one reader, one writer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from layershap.errors import UserError
from layershap.files import json_text, write_whole

__all__ = ["SCHEMA", "NotThereYet", "ResultFile"]

SCHEMA = 3
"""Version that is written. Files of earlier ones are read as well; version 1 does not name it."""
_KEY = "schema"

Result = TypeVar("Result")


class NotThereYet(UserError):
    """A stage has not been run, so that there is no result of it."""


@dataclass(frozen=True)
class ResultFile(Generic[Result]):
    """One file of a run directory and the type of what it holds.

    Attributes:
        type: a frozen dataclass; its fields are the keys of the file.
        name: of the file, in the run directory.
        stage: the command that writes it.
        indent: of the JSON; None for one line.
    """

    type: type[Result]
    name: str
    stage: str
    indent: int | None = 2

    def path(self, run: Path) -> Path:
        """Return where the file of a run is."""
        return run / self.name

    def read(self, run: Path) -> Result:
        """Read the result of a run.

        Args:
            run: its directory.

        Raises:
            NotThereYet: there is no such file.
            UserError: it is damaged, of another form, or of a later version.
        """
        path = self.path(run)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotThereYet(
                f"{path}: not there yet; run layershap {self.stage} {run} first"
            ) from None
        except (ValueError, RecursionError, OSError) as error:
            raise self._damaged(run, error) from None
        version = content.pop(_KEY, 1) if isinstance(content, dict) else 1
        if not isinstance(version, int) or version > SCHEMA:
            raise UserError(
                f"{path}: schema {str(version)[:20]} is of a later version of layershap, this one "
                f"reads up to {SCHEMA}; upgrade layershap"
            )
        try:
            return self.from_dict(content)
        except (ValueError, RecursionError) as error:
            raise self._damaged(run, error) from None

    def found(self, run: Path) -> Result | None:
        """Read the result of a run; None where there is none.

        Raises:
            UserError: it is damaged, of another form, or of a later version.
        """
        try:
            return self.read(run)
        except NotThereYet:
            return None

    def write(self, run: Path, result: Result) -> None:
        """Write the result of a run, whole or not at all.

        Args:
            run: its directory.
            result: numbers in it that are not finite become null.
        """
        content = self._adapter.dump_python(result)
        path = self.path(run)
        write_whole(path, json_text({_KEY: SCHEMA, **content}, self.indent))

    def from_dict(self, content: object) -> Result:
        """Return the result that JSON values of the file's form tell of.

        Args:
            content: without the schema version.

        Raises:
            ValueError: they are of another form; the message names the first field that is.
        """
        try:
            return self._adapter.validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "its content"
            given = first["input"]
            shown = f" {given}" if isinstance(given, str | int | float) else ""
            raise ValueError(f"{place}{shown[:40]}: {first['msg'].lower()}") from None
        except TypeError as error:
            raise ValueError(str(error)) from None

    def to_dict(self, result: Result) -> dict[str, Any]:
        """Return the content of the file as Python values, without the schema version."""
        return self._adapter.dump_python(result)

    @cached_property
    def _adapter(self) -> TypeAdapter[Result]:
        return TypeAdapter(self.type)

    def _damaged(self, run: Path, why: object) -> UserError:
        told = " ".join(str(why).split())[:200]
        return UserError(
            f"{self.path(run)}: damaged ({told}); run layershap {self.stage} {run} again"
        )
