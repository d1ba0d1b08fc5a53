"""The pages as they are built: formulas and options are in them, and nothing needs a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("furo", reason="the documentation's theme is not installed")


def build(source, target):
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", source, target],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages without the API reference, which takes most of the time."""
    source = tmp_path_factory.mktemp("docs")
    for name in ("_extensions", "_static"):
        shutil.copytree(ROOT / "docs" / name, source / name)
    for name in ("conf.py", "methods.md", "commands.md"):
        shutil.copy(ROOT / "docs" / name, source)
    # Links need somewhere to lead to.
    others = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index", "methods", "commands"}
    for name in others:
        text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        headings = re.findall(r"^#+ .+$", text, re.MULTILINE)
        (source / f"{name}.md").write_text("\n\n".join(headings) + "\n")
    listed = "\n".join(["methods", "commands", *sorted(others)])
    (source / "index.md").write_text(f"# index\n\n```{{toctree}}\n{listed}\n```\n")
    done = build(source, source / "html")
    assert done.returncode == 0, done.stderr
    return {
        page.stem: page.read_text(encoding="utf-8") for page in (source / "html").glob("*.html")
    }


def test_nothing_is_fetched_to_look_at_a_page(pages):
    for name, html in pages.items():
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"([^\"]+)\"", html)
        loaded += re.findall(
            r"<link[^>]*rel=\"(?:stylesheet|preload)\"[^>]*href=\"([^\"]+)\"", html
        )
        assert not [place for place in loaded if re.match(r"(?:https?:)?//", place)], name


def test_every_formula_is_drawn_by_the_browser_itself(pages):
    source = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    displayed = source.count("$$") // 2
    within = len(re.findall(r"\$[^$\n]+\$", re.sub(r"\$\$.*?\$\$", "", source, flags=re.S)))
    assert displayed > 10
    assert pages["methods"].count('class="math displayed"') == displayed
    assert pages["methods"].count("<math") == displayed + within


def test_options_of_the_command_line_are_in_the_page(pages):
    html = pages["commands"]
    assert "--gpus-per-worker" in html
    assert "Most memory of a worker in GiB" in html
    assert not re.search(r"[–—](?:memory|budget|remove)", html)  # two hyphens stay two


@pytest.mark.parametrize(
    "text",
    [
        "$\\nosuchcommand$",
        "```{eval-rst}\n.. layershap-options:: rnu\n```",
        "[somewhere](nowhere.md)",
    ],
)
def test_what_is_wrong_in_a_page_fails_the_build(text, tmp_path):
    for name in ("_extensions", "_static"):
        shutil.copytree(ROOT / "docs" / name, tmp_path / name)
    shutil.copy(ROOT / "docs" / "conf.py", tmp_path)
    (tmp_path / "index.md").write_text(f"# index\n\n{text}\n")
    assert build(tmp_path, tmp_path / "html").returncode != 0
