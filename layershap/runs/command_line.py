"""A run's configuration as the command that a person types for it."""

from __future__ import annotations

import shlex
from pathlib import Path

from layershap.runs.config import SETTINGS, RunConfig

__all__ = ["run_command"]


def run_command(config: RunConfig, output: Path) -> str:
    """Returns the `layershap run` command of a configuration, without what is default anyway.

    The same command continues what it began, and measures nothing twice.
    """
    words = ["layershap", "run"]
    if config.model.name is not None:
        words.append(config.model.name)
    for name, value in config.settings().items():
        if name == "model" or value == SETTINGS[name].info.default:
            continue
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif value is False:
            words.append(f"--no-{flag.removeprefix('--')}")
        elif isinstance(value, tuple):
            words += [word for entry in value for word in (flag, str(entry))]
        else:
            words += [flag, str(value)]
    if output != config.default_output():
        words += ["--output", str(output)]
    return shlex.join(words)
