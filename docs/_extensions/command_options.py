"""A directive that writes a command's help and options, read from the command line itself."""

from __future__ import annotations

import inspect
from typing import Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from layershap.cli import commands
from layershap.cli.options import Configured
from layershap.runs.config import SETTINGS

__all__ = ["setup"]


class CommandOptions(Directive):
    """``layershap-options:: NAME [SUBCOMMAND]`` becomes usage and a list of options."""

    required_arguments = 1
    optional_arguments = 1

    def run(self) -> list[nodes.Element]:
        """Returns the usage line and one entry an option."""
        name = self.arguments[0]
        command = commands.get_command(click.Context(commands), name)
        if command is None:
            raise self.error(f"there is no command {name}")
        path = f"layershap {name}"
        if len(self.arguments) > 1:
            path = f"{path} {self.arguments[1]}"
            command = _subcommand(command, self.arguments[1])
            if command is None:
                raise self.error(f"there is no command {path}")
        context = click.Context(command, info_name=path)
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        block = nodes.literal_block(usage, usage, language="text")
        found: list[nodes.Element] = [block, *_paragraphs(command.help or "")]
        for group, options in _groups(command, context).items():
            if group:
                found.append(nodes.rubric(group, group))
            found.append(_entries(options))
        for node in found:
            node["support_smartquotes"] = False  # two hyphens begin an option
        return found


def _subcommand(command: click.Command, name: str) -> click.Command | None:
    if not isinstance(command, click.Group):
        return None
    return command.get_command(click.Context(command), name)


def _groups(command: click.Command, context: click.Context) -> dict[str, list[tuple[str, str]]]:
    """Options by their tables of `run.toml`; under no name those that are in none."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for option in command.params:
        record = option.get_help_record(context)
        if record is None or not isinstance(option, click.Option):
            continue
        setting = SETTINGS.get(option.name or "")
        group = f"[{setting.section}]" if setting and isinstance(command, Configured) else ""
        groups.setdefault(group, []).append(record)
    return dict(sorted(groups.items(), key=lambda item: item[0] != ""))


def _entries(options: list[tuple[str, str]]) -> nodes.definition_list:
    entries = nodes.definition_list(classes=["options"])
    for flags, text in options:
        term = nodes.term("", "", nodes.literal(flags, flags))
        meaning = nodes.definition("", nodes.paragraph(text, text))
        entries += nodes.definition_list_item("", term, meaning)
    return entries


def _paragraphs(text: str) -> list[nodes.Element]:
    """Paragraphs of a help text, its `names` as code."""
    found: list[nodes.Element] = []
    for part in inspect.cleandoc(text).split("\n\n"):
        paragraph = nodes.paragraph()
        for place, piece in enumerate(" ".join(part.split()).split("`")):
            paragraph += nodes.literal(piece, piece) if place % 2 else nodes.Text(piece)
        found.append(paragraph)
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer the directive."""
    app.add_directive("layershap-options", CommandOptions)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
