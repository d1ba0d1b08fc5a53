"""Commands that cannot write: one line that names file, cause and remedy, and nothing lost."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = str(Path(__file__).parents[3])


def limited(*words, size=None):
    """The command in a process that may write files of a size only, where one is given."""

    def bound():
        if size is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return subprocess.run(
        [sys.executable, "-m", "layershap", *map(str, words)],
        env={**os.environ, "PYTHONPATH": HOME},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=bound,
    )


def said(done):
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("layershap: ")]
    return line


@pytest.fixture
def run(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def test_a_report_that_does_not_fit_names_its_file_and_leaves_the_old_one(run):
    report = run / "report.html"
    before = report.read_bytes()
    shutil.rmtree(run / "surrogate", ignore_errors=True)
    done = limited("report", run, size=100_000)
    assert done.returncode == 1
    line = said(done)
    assert f"{report}: File too large; raise the limit of file sizes" in line
    assert report.read_bytes() == before
    assert not (run / "report.html.part").exists()


def test_results_that_do_not_fit_end_in_one_line_and_are_as_before(run):
    before = (run / "values.json").read_bytes()
    done = limited("values", run, size=1000)
    assert done.returncode in (1, 2)
    assert said(done)
    assert (run / "values.json").read_bytes() == before
    again = limited("values", run)
    assert again.returncode == 0, again.stderr


def test_a_path_that_is_no_text_is_told_all_the_same(tmp_path):
    done = limited("report", os.fsdecode(bytes(tmp_path) + b"/\xff-run"))
    assert done.returncode == 2
    assert "no run.toml in this directory" in said(done) or "does not exist" in done.stderr
