"""The configuration as `run.toml` keeps it, and as a person's settings are checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from layershap.errors import UserError
from layershap.runs.config import SETTINGS, RunConfig, nested

__all__ = ["changed_config", "checked_config", "read_config", "to_toml"]

_HEAD = "# Configuration of this run; every value that was not given is its default.\n"


def to_toml(config: RunConfig) -> str:
    """Return the configuration as TOML, defaults written out; unset values as comments."""
    text = _HEAD
    for section, values in config.model_dump(mode="json").items():
        given = {name: value for name, value in values.items() if value is not None}
        text += "\n" + tomli_w.dumps({section: given})
        text += "".join(f"# {name}: automatic\n" for name in values if name not in given)
    return text


def read_config(path: Path) -> RunConfig:
    """Read a `run.toml`; one that has no tables is of an earlier version and read as well.

    Raises:
        UserError: it is missing or wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path.parent}: no run.toml in this directory; start one with layershap run"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: not readable as TOML ({error})") from None
    if not content:
        raise UserError(
            f"{path}: is empty, so nothing tells which run this is; put the run's own run.toml back"
        )
    if not all(isinstance(value, dict) for value in content.values()):
        return checked_config(_of_flat(content), str(path))
    return _checked(content, str(path))


def checked_config(settings: Mapping[str, Any], source: str = "") -> RunConfig:
    """Return a configuration of settings by the names of their options.

    Args:
        settings: by option, dashes as underscores.
        source: file that they come from; none for a command line.

    Raises:
        UserError: one is unknown or wrong, in one line.
    """
    for name, value in settings.items():
        if name not in SETTINGS:
            shown = f"{source}: {name}" if source else "--" + name.replace("_", "-")
            raise UserError(f"{shown} {value}: is no setting of a run")
    return _checked(nested(settings), source)


def changed_config(config: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """Return a configuration with other settings, by the names of their options.

    Raises:
        UserError: one is unknown or wrong, in one line.
    """
    return checked_config({**config.settings(), **settings})


def _checked(tables: Mapping[str, Any], source: str) -> RunConfig:
    try:
        return RunConfig.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"][:2]] or ["?"]
        name = next(
            (name for name, o in SETTINGS.items() if [o.section, o.field] == place), place[-1]
        )
        shown = ".".join(place) if source else "--" + name.replace("_", "-")
        rule = first["msg"].removeprefix("Value error, ")
        rule = rule[:1].lower() + rule[1:]
        raise UserError(
            f"{source}{': ' if source else ''}{shown} {first.get('input')}: {rule}"
        ) from None


def _of_flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a file from before there were tables; counts were called `remove` there."""
    return {"count" if name == "remove" else name: value for name, value in content.items()}
