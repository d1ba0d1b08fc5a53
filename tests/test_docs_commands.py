"""What the documentation says can be typed: its commands and options exist, its Python runs."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from layershap.cli import COMMANDS, commands

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.S | re.M)


def lines():
    """Every `layershap ...` line of a shell block, and every one in a sentence's code."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language, block in FENCE.findall(text):
            if language in ("", "sh", "bash", "console"):
                for line in block.replace("\\\n", " ").splitlines():
                    if line.strip().removeprefix("$ ").startswith("layershap "):
                        yield page.name, line.strip().removeprefix("$ ")
        for code in re.findall(r"`(layershap [a-z][^`]*)`", FENCE.sub("", text)):
            yield page.name, code


def python_blocks():
    for page in PAGES:
        for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
            if language == "python":
                yield page.name, block


LINES = list(dict.fromkeys(lines()))
BLOCKS = list(python_blocks())


def check(line):
    """Parse a command as click would, without running it."""
    name, *words = shlex.split(line, comments=True)[1:]
    assert name in COMMANDS, f"no command {name}"
    command = commands.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    if isinstance(command, click.Group) and words:
        command = command.commands[words.pop(0)]
    alone = not words  # the command is only named, as in `layershap export`
    options = [p for p in command.params if isinstance(p, click.Option)]
    known = {flag for option in options for flag in (*option.opts, *option.secondary_opts)}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known
    if not alone:
        command.make_context(name, words)


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{p}: {line}" for p, line in LINES])
def test_commands_and_their_options_exist(page, line):
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "layershap rnu MODEL",
        "layershap run MODEL --bugdet 3",
        "layershap run MODEL --budget many",
        "layershap export runs/x --remove 4",
        "layershap report runs/x --format pdf",
    ],
)
def test_the_check_sees_what_is_wrong(line):
    with pytest.raises((AssertionError, click.ClickException)):
        check(line)


def test_many_commands_are_checked():
    assert len(LINES) > 25
    assert {line.split()[1] for _, line in LINES} >= {
        "run", "status", "report", "query", "export", "doctor", "baselines", "evaluate", "ledger",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("page", "code"), BLOCKS, ids=[f"{page}-{number}" for number, (page, _) in enumerate(BLOCKS)]
)
def test_python_blocks_run(page, code, finished_run, tmp_path, monkeypatch):
    if "layershap.run(" in code:
        compile(code, page, "exec")  # takes a model of the hub
        return
    if "plot_" in code and importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, tmp_path / "runs" / "demo")
    exec(compile(code, page, "exec"), {"__name__": "docs"})


def test_links_lead_somewhere():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("http") or (page.parent / target).exists(), (page, target)


def test_pages_of_the_contents_exist():
    for page in PAGES:
        for options, names in re.findall(
            r"```\{toctree\}\n((?::.*\n)*)\n?([^`]*)```", page.read_text(encoding="utf-8")
        ):
            del options
            for name in names.split():
                assert (page.parent / f"{name}.md").exists(), (page, name)
