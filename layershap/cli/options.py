"""Command-line options made from the fields of the configuration, so that there is one of each."""

from __future__ import annotations

import types
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click

from layershap.cli.moved import refused_remove
from layershap.runs.config import SETTINGS, RunConfig
from layershap.runs.config_file import checked_config, read_config
from layershap.runs.directory import RunDirectory

__all__ = [
    "Configured",
    "check_remove",
    "configured",
    "model_options",
    "read_run",
    "run_argument",
    "set_options",
    "value_options",
]

Command = Callable[..., Any]

_GROUPS = ("Text", "Model", "Measure", "Values", "Search", "Verify", "Repair", "Cluster", "Options")


class Configured(click.Command):
    """A command whose help shows the configuration's options under the headings of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                option = SETTINGS.get(parameter.name or "")
                group = "Options" if option is None else option.section.capitalize()
                groups.setdefault(group, []).append(record)
        for group in sorted(groups, key=_GROUPS.index):
            with formatter.section(group):
                formatter.write_dl(groups[group])


def configured(command: Command) -> Command:
    """Add MODEL, --output and one option for each field; the command gets (config, directory)."""

    def called(model: str | None, output: Path | None, **given: Any) -> Any:
        values = {name: value for name, value in given.items() if value is not None}
        if model is not None:
            values["model"] = model
        config = checked_config(values)
        directory = RunDirectory(output or config.default_output())
        directory.wish(config).record()
        return command(config, directory)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    decorated: Command = called
    for name in reversed(SETTINGS):
        if name != "model":
            decorated = _option(name)(decorated)
    output = click.option(
        "--output",
        "-o",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Run directory; an existing one is continued. [default: runs/MODEL]",
    )
    return click.argument("model", required=False)(output(refused_remove(decorated)))


def model_options(command: Command) -> Command:
    """Add --model and one option for each field that tells how a model is loaded."""
    for name in reversed([name for name, option in SETTINGS.items() if option.section == "model"]):
        command = _option(name)(command)
    return command


def search_options(command: Command) -> Command:
    """Add one option for each field that tells which sets a search may look at."""
    for name in ("zero_halves", "nested", "contiguous"):
        command = _option(name)(command)
    return command


def value_options(command: Command) -> Command:
    """Add one option for each field that tells what the values of a run are."""
    for name in reversed([n for n, option in SETTINGS.items() if option.section == "values"]):
        command = _option(name)(command)
    return command


def run_argument(command: Command) -> Command:
    """Add the RUN argument: a run directory that exists."""
    return click.argument("run", type=click.Path(path_type=Path, file_okay=False), metavar="RUN")(
        command
    )


def set_options(command: Command) -> Command:
    """Add --remove and --count, which name a set of a run."""
    remove = click.option(
        "--remove", metavar="PLAYERS", help="What to leave out, as 4,6 or L4.attn."
    )
    count = click.option(
        "--count",
        type=click.IntRange(min=1),
        metavar="COUNT",
        help="Take the recommended set of this many players.",
    )
    return remove(count(command))


def read_run(run: Path) -> tuple[RunConfig, RunDirectory]:
    """The configuration and the directory of an earlier run."""
    directory = RunDirectory(run)
    return read_config(directory.config), directory


def check_remove(text: str, config: RunConfig, directory: RunDirectory) -> None:
    """Refuse players that a run does not have, by its ledger alone; without one later.

    Args:
        text: what was given for `--remove`.
        config: of the run.
        directory: of the run.

    Raises:
        UserError: it names no players, or unknown ones.
    """
    from cluster import LedgerError
    from layershap.api.ledger import RunLedger
    from layershap.results.set_text import parse_set

    if directory.ledger.exists():
        with suppress(LedgerError):  # nothing is measured yet
            parse_set(text, "--remove", RunLedger(directory, config).roster.find)


def _option(name: str) -> Callable[[Command], Command]:
    option = SETTINGS[name]
    field = option.info
    kind = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(a for a in get_args(kind) if a is not type(None))
    flag = "--" + name.replace("_", "-")
    shown: dict[str, Any] = {"help": field.description, "default": None}
    if field.default not in (None, (), False) and field.default is not True:
        shown["help"] = f"{field.description} [default: {field.default}]"
    if kind is bool and field.default:
        return click.option(f"{flag}/--no-{flag.removeprefix('--')}", **shown)
    if kind is bool:
        return click.option(flag, is_flag=True, **shown)
    if get_origin(kind) is tuple:
        return click.option(flag, multiple=True, metavar=option.metavar, help=shown["help"])
    if get_origin(kind) is Literal:
        return click.option(flag, type=click.Choice(get_args(kind)), **shown)
    if option.sizes:
        kind = str
    types_ = {int: click.INT, float: click.FLOAT, str: click.STRING}
    return click.option(flag, type=types_[kind], metavar=option.metavar, **shown)  # type: ignore[index]
