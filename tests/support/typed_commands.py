"""Commands as documents write them, checked against what they would run; for tests."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import tomllib
from pathlib import Path

import click

from decoder.players import make_roster
from layershap.cli import COMMANDS, commands
from layershap.games.estimators import make_estimator
from layershap.methods.catalog import find_baselines
from layershap.results.set_text import parse_counts
from layershap.runs.config import SETTINGS
from layershap.runs.config_file import checked_config
from layershap.runs.utilities import parse_utilities

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SHELLS = ("sh", "bash", "console")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.S | re.M)


def blocks(page, *languages):
    """The fenced blocks of a page in these languages."""
    text = page.read_text(encoding="utf-8")
    return [block for language, block in FENCE.findall(text) if language in languages]


def shell_lines(page):
    """The lines of a page's shell blocks, without comments."""
    for block in blocks(page, *SHELLS):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            if words:
                yield shlex.join(words)


def spoken_commands(page):
    """`layershap ...` in plain blocks and in sentences."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page, ""):
        for line in block.splitlines():
            if line.startswith("layershap "):
                yield shlex.join(shlex.split(line, comments=True))
    yield from re.findall(r"`(layershap [a-z][^`]*)`", FENCE.sub("", text))


def check_command(line):
    """Raise if a command line could not be typed as it is."""
    name, *words = shlex.split(line)
    name = Path(name).name if "/" in name else name
    checks = {
        "layershap": check_layershap,
        "ray": check_ray,
        "kubectl": check_kubectl,
        "pip": check_pip,
        "make": check_make,
        "python": check_python,
        "python3": check_python,
        "source": lambda words: _is(words, [".venv/bin/activate"]),
    }
    assert name in checks, f"nothing checks {name}"
    checks[name](words)


def check_layershap(words):
    """Parse a command as the command line would, values included, without running it."""
    name, *words = words
    assert name in COMMANDS, f"no command {name}"
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    if isinstance(command, click.Group) and words:
        name = words.pop(0)
        command = command.get_command(click.Context(command), name)
        assert command is not None, f"no command {name}"
    if not words:
        return  # the command is only named, as in a sentence
    if words == ["--help"]:
        return
    given = command.make_context(name, list(words)).params
    if name in ("run", "measure", "doctor"):
        check_settings({key: value for key, value in given.items() if value is not None})
    elif name == "baselines":
        methods = next(value for key, value in given.items() if key.startswith("method"))
        find_baselines(methods)
    elif name == "values" and "method" in given:
        make_estimator(given["method"])
    if isinstance(given.get("count"), str):
        parse_counts(given["count"])


def check_settings(given):
    """What a run would find wrong with its settings, for a model of 64 layers."""
    fields = {key: value for key, value in given.items() if key in SETTINGS}
    config = checked_config(fields)
    parse_utilities(config.utilities)
    make_roster(config.measure.players, 64, config.measure.protect or "")
    config.counts(64)


def check_ray(words):
    """Ray's own commands; what a job runs is checked as well."""
    from ray.scripts.scripts import cli

    if "--" in words:
        at = words.index("--")
        words, job = words[:at], words[at + 1 :]
        check_command(shlex.join(job))
    command: click.Command = cli
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    if command.name == "submit":
        words = [*words, "--", "true"]  # the entry point
    command.make_context("ray", list(words))
    for word in words:
        if word.endswith(".yaml"):
            assert (ROOT / word).exists(), word


def check_kubectl(words):
    """A file that exists, or a job that one of the examples names."""
    if words[:2] == ["apply", "-f"]:
        assert (ROOT / words[2]).exists(), words[2]
        return
    _is(words[:2], ["get", "rayjob"])
    example = (ROOT / "cluster" / "examples" / "kuberay-job.yaml").read_text(encoding="utf-8")
    assert re.search(rf"^  name: {words[2]}$", example, flags=re.M), words[2]


def check_pip(words):
    """Constraints that exist and extras that the project has."""
    _is(words[:1], ["install"])
    for flag, word in itertools.pairwise(words):
        if flag == "-c":
            assert (ROOT / word).exists(), word
    for target in words[1:]:
        if found := re.fullmatch(r"(?:\.|layershap)\[(.*)\]", target):
            extras = set(found[1].split(","))
            assert extras <= PROJECT["optional-dependencies"].keys(), target


def check_make(words):
    """Targets that exist."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        assert "=" in word or re.search(rf"^{word}:", makefile, flags=re.M), word


def check_python(words):
    """A module or a file that exists."""
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None, words[1]
    else:
        assert (ROOT / words[0]).exists(), words[0]


def _is(found, wanted):
    assert found == wanted, shlex.join(found)
