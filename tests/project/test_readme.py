"""What the README says is true: its Python runs, its commands and options exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from layershap.cli import COMMANDS, commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.S)
LINES = [
    line.split("#")[0].strip()
    for block in re.findall(r"```\n(.*?)```", README, flags=re.S)
    for line in block.splitlines()
    if line.startswith("layershap ")
]


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.splitlines()[1])
def test_python_examples_print_what_they_say(code, capsys):
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed
    for expected in re.findall(r"print\(.*?\)\s+# ([\[(][^:\n]*[\])])$", code, flags=re.M):
        assert expected in printed


@pytest.mark.parametrize("line", LINES)
def test_commands_and_options_exist(line):
    name, *words = shlex.split(line)[1:]
    assert name in COMMANDS
    command = commands.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    if isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_all_public_names_exist():
    import importlib

    for room in ("decoder", "cluster", "surrogate", "shapley", "sampling"):
        module = importlib.import_module(room)
        assert sorted(set(module.__all__)) == sorted(module.__all__)
        for name in module.__all__:
            assert getattr(module, name) is not None


def test_packages_come_from_one_place():
    from layershap.runs.doctor import package_homes

    assert len(package_homes()) == 1
