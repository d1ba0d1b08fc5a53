"""What the documentation says can be typed: its commands and options exist, its Python runs."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shutil

import click
import pytest

import layershap
from layershap.api.opened import OpenedRun
from layershap.cli import COMMANDS
from layershap.methods.catalog import BASELINES
from layershap.runs.config import SETTINGS
from tests.support.typed_commands import ROOT, blocks, check_command, shell_lines, spoken_commands

PAGES = sorted(
    page for page in (ROOT / "docs").rglob("*.md") if not page.is_relative_to(ROOT / "docs/_build")
)
BESIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "cluster/examples/README.md")]
FILES = ("layershap.json",)
ROOMS = ("layershap", "decoder", "cluster", "surrogate", "shapley", "sampling")

LINES = list(
    dict.fromkeys(
        (page.name, line)
        for page in [*PAGES, *BESIDE]
        for line in [*shell_lines(page), *spoken_commands(page)]
    )
)
BLOCKS = [(page.name, block) for page in PAGES for block in blocks(page, "python")]


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{p}: {line}" for p, line in LINES])
def test_commands_options_and_their_values_exist(page, line):
    check_command(line)


@pytest.mark.parametrize(
    "line",
    [
        "layershap rnu MODEL",
        "layershap run MODEL --bugdet 3",
        "layershap run MODEL --budget many",
        "layershap run MODEL --budget",
        "layershap run MODEL --dtype float8",
        "layershap run MODEL --utility perplexity",
        "layershap run MODEL --players heads",
        "layershap run MODEL --count 4-1",
        "layershap run MODEL --remove 1-4",
        "layershap run MODEL OTHER",
        "layershap doctor MODEL --memory -1",
        "layershap export runs/x --remove 4",
        "layershap report runs/x --format pdf",
        "layershap query runs/x --level 95",
        "layershap serve runs/x --port 80000",
        "layershap recommend runs/x --max-loss -1",
        "layershap baselines runs/x --method slep",
        "layershap baselines runs/x --count many",
        "layershap baselines runs/x --counts 2",
        "layershap values --game a:b",
        "layershap game values --game a:b --method magic",
        "layershap game serach --game a:b",
        "layershap search runs/x --count 6-2",
        "layershap ledger shwo runs/x",
        "layershap ledger export runs/x",
        ".venv/bin/layershap rnu",
        "ray job submit --address http://HEAD:8265 -- layershap rnu",
        "ray up cluster/examples/nothing.yaml",
        "ray strat --head",
        "ray start --haed",
        "kubectl apply -f nothing.yaml",
        "kubectl get rayjob nothing",
        "pip install 'layershap[nothing]'",
        "pip install -c nothing.txt .",
        "make nothing",
        "python examples/nothing.py",
        "python -m benchmarks.nothing",
        "rm -rf /",
    ],
)
def test_the_check_sees_what_is_wrong(line):
    with pytest.raises((AssertionError, KeyError, ValueError, click.ClickException)):
        check_command(line)


def test_every_command_is_documented():
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\w+)$", text, flags=re.M)) == set(COMMANDS)
    typed = {line.split()[1] for _, line in LINES if line.startswith("layershap ")}
    assert typed >= set(COMMANDS)
    shown = set(re.findall(r"layershap-options:: (\w+)", text))
    assert shown == set(COMMANDS) - {"measure", "doctor"}  # whose options are those of run


def test_every_baseline_is_in_the_table():
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for baseline in BASELINES:
        assert f"| {baseline.name} | {baseline.source} | {baseline.needs} |" in text, baseline.name


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


def spoken(page):
    """What a page writes as code within its sentences."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.findall(r"`([^`\n]+)`", text)


def resolve(dotted):
    """The object of a dotted name; an error where there is none."""
    words = dotted.split(".")
    found = importlib.import_module(words[0])
    for depth, word in enumerate(words[1:], 2):
        if not hasattr(found, word):
            importlib.import_module(".".join(words[:depth]))
        found = getattr(found, word)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_and_files_exist(page):
    for code in spoken(page):
        if re.fullmatch(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+(?:\(.*\))?", code) and code not in FILES:
            resolve(code.partition("(")[0])
        if re.fullmatch(r"run\.\w+(?:\(.*\))?", code) and code != "run.toml":
            assert hasattr(OpenedRun, code[4:].partition("(")[0]), code
        first = code.split("/")[0]
        if "/" in code and first in {*ROOMS, "tests", "docs", "examples", "benchmarks", "reports"}:
            assert (ROOT / code).exists(), code
    for target in re.findall(
        r"automodule:: (\S+)|autoclass:: (\S+)|autofunction:: (\S+)", page.read_text()
    ):
        resolve("".join(target))


def test_names_of_the_guide_to_extending_are_in_the_code():
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for room in (*ROOMS, "tests")
        for path in (ROOT / room).rglob("*.py")
    )
    seen = 0
    for code in spoken(ROOT / "docs" / "extending.md"):
        # Classes and constants, as `Metric` or `BASELINES`.
        if re.fullmatch(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*|[A-Z]+(?:_[A-Z]+)+|[A-Z]{5,}", code):
            seen += 1
            assert re.search(rf"^(?:class {code}\b|{code}\b.*=)", sources, flags=re.M), code
    assert seen >= 5


def test_names_that_do_not_exist_are_seen():
    for wrong in (
        "shapley.estimat",
        "surrogate.process.adaptive.Adaptiv",
        "layershap.nothing.at_all",
    ):
        with pytest.raises((AttributeError, ImportError)):
            resolve(wrong)
    assert resolve("layershap.open") is layershap.open


def test_settings_of_run_in_python_exist():
    for page, code in BLOCKS:
        for call in re.findall(r"layershap\.run\((.*?)\)$", code, flags=re.M):
            for name in re.findall(r"(\w+)=", call):
                assert name in {"output", "progress", *SETTINGS}, (page, name)


def headings(page):
    """The anchors of a page."""
    text = page.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere():
    for page in [*PAGES, *BESIDE]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("http"):
                continue
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), (page, target)
            assert not anchor or anchor in headings(there), (page, target)


def test_every_page_is_in_the_contents():
    listed = set()
    for page in PAGES:
        for names in re.findall(
            r"```\{toctree\}\n(?::.*\n)*\n?([^`]*)```", page.read_text(encoding="utf-8")
        ):
            for name in names.split():
                found = list(page.parent.glob(f"{name}.md"))
                assert found, (page, name)
                listed |= set(found)
    missing = set(PAGES) - listed - {ROOT / "docs" / "index.md"}
    assert not missing
