"""The examples run as they are."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def test_every_example_is_run_here():
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {"own_game.py", "explain_and_prune.py"}


@pytest.mark.parametrize("name", ["own_game.py", "explain_and_prune.py"])
def test_every_example_says_what_it_shows_and_how_to_run_it(name):
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8"))) or ""
    assert f"python examples/{name}" in text
    assert "What it shows:" in text


def test_own_game(capsys):
    runpy.run_path(str(EXAMPLES / "own_game.py"), run_name="__main__")
    printed = capsys.readouterr().out
    found = re.findall(r"(\S+) +([+-][\d.]+) \(.*?\) +exact ([+-][\d.]+)", printed)
    assert len(found) == 10
    assert found[0][0] == "bmi"
    for _, estimated, exact in found:
        assert float(estimated) == pytest.approx(float(exact), abs=0.02)
    left = re.findall(r"remove (\d): .* leaves R² ([\d.]+)", printed)
    assert [count for count, _ in left] == ["2", "4"]
    assert all(float(r2) > 0.45 for _, r2 in left)


@pytest.mark.slow
def test_explain_and_prune(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "explain_and_prune.py", "--quick", "--output", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "Finished: every stage is done." in done.stdout
    assert "stock transformers loads 11 layers of it" in done.stdout
    smaller = list((tmp_path / "run").glob("without-L*/model.safetensors"))
    assert len(smaller) == 1
    assert (tmp_path / "run" / "values.png").exists() == (find_spec("matplotlib") is not None)
    assert (tmp_path / "run" / "report.html").exists()
