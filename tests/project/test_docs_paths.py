"""What the documentation names is there: files, folders, dotted names, links, inner rooms."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest

import layershap
from layershap.api.opened import OpenedRun
from layershap.runs.config import RunConfig
from layershap.runs.config_file import to_toml
from tests.support.doc_pages import BESIDE, PAGES, ROOMS, ROOT, spoken, without_blocks
from tests.support.typed_commands import blocks

EVERY = [*PAGES, *BESIDE]
FOLDERS = {*ROOMS, "tests", "docs", "examples", "benchmarks", "reports", ".ci"}
FILES = ("layershap.json", "surrogate.json")
WRITTEN = ("docs/_build",)  # by a build, and so in no checkout


def missing_path(code):
    """Whether code reads as a path in the repository and leads nowhere."""
    path = code.partition(" ")[0]
    if not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)+/?", path):
        return False  # no path
    if path.split("/")[0] not in FOLDERS and not path.endswith(".py"):
        return False  # somebody's own
    return not (ROOT / path).exists() and not path.startswith(WRITTEN)


def resolve(dotted):
    """The object of a dotted name; an error where there is none."""
    words = dotted.split(".")
    found = importlib.import_module(words[0])
    for depth, word in enumerate(words[1:], 2):
        if not hasattr(found, word):
            importlib.import_module(".".join(words[:depth]))
        found = getattr(found, word)
    return found


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.name)
def test_paths_exist(page):
    assert not [code for code in spoken(page) if missing_path(code)]


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.name)
def test_dotted_names_resolve(page):
    for code in spoken(page):
        if re.fullmatch(rf"(?:{'|'.join(ROOMS)})(?:\.\w+)+(?:\(.*\))?", code) and code not in FILES:
            resolve(code.partition("(")[0])
        if re.fullmatch(r"run\.\w+(?:\(.*\))?", code) and code != "run.toml":
            assert hasattr(OpenedRun, code[4:].partition("(")[0]), code
    for target in re.findall(
        r"automodule:: (\S+)|autoclass:: (\S+)|autofunction:: (\S+)", page.read_text()
    ):
        resolve("".join(target))


def test_what_does_not_exist_is_seen():
    for wrong in (
        "shapley.estimat",
        "surrogate.process.adaptive.Adaptiv",
        "layershap.nothing.at_all",
    ):
        with pytest.raises((AttributeError, ImportError)):
            resolve(wrong)
    assert resolve("layershap.open") is layershap.open
    assert missing_path("llm/walk.py")
    assert missing_path("decoder/nothing/")
    assert not missing_path("decoder/model/")
    assert not missing_path("runs/demo")  # no file of the repository


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


def tree():
    """The folders in CONTRIBUTING's tree, as paths."""
    above: list[str] = []
    for line in blocks(ROOT / "CONTRIBUTING.md", "text")[0].splitlines():
        found = re.match(r"( *)(\w+)/ ", line)
        assert found is not None, line
        indent, name = found.groups()
        above = [*above[: len(indent) // 2], name]
        yield "/".join(above)


def test_every_room_stands_in_the_tree_and_no_other():
    rooms = {
        str(file.parent.relative_to(ROOT))
        for room in ROOMS
        for file in (ROOT / room).rglob("__init__.py")
    }
    shown = set(tree())
    assert {name for name in shown if name.split("/")[0] in ROOMS} == rooms
    assert all((ROOT / name).is_dir() for name in shown)


def test_the_run_toml_shown_is_the_one_written():
    page = ROOT / "docs" / "run_directory.md"
    [shown] = blocks(page, "toml")
    command = re.search(r"`layershap run (\S+ [^`]*)` writes", page.read_text(encoding="utf-8"))
    assert command
    model, *words = shlex.split(command[1])
    given = {flag[2:]: value for flag, value in zip(words[::2], words[1::2], strict=True)}
    config = RunConfig.of(
        model=model,
        calibration=(given["calibration"],),
        budget=int(given["budget"]),
        count=given["count"],
    )
    assert shown.strip() == to_toml(config).strip()


def headings(page):
    """The anchors of a page."""
    titles = re.findall(r"^#+ (.*)$", without_blocks(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)|<img src=\"([^\"]+)\"", text):
        target = "".join(target)
        if target.startswith("http"):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in headings(there), target


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
