"""The log in a run's directory."""

from __future__ import annotations

import logging
import shutil
import warnings

import pytest

from layershap.terminal import log_file
from layershap.terminal.console import Console
from layershap.terminal.log_file import log_of, logged, without_secrets
from tests.support.command_line import call


def test_a_run_says_in_its_log_what_it_said_on_the_console(finished_run):
    log = (finished_run / "log.txt").read_text()
    assert "began: layershap run" in log
    for word in ("Python 3", "torch 2", "jax ", "ray ", "process "):
        assert word in log
    for line in ("[1/6] measure", "[6/6] report", "run finished: campaign calibration", "Report: "):
        assert line in log
    assert "Layers to remove, cost in nats per token" in log
    assert not (finished_run / "progress.json").exists()


def test_an_unexpected_failure_is_one_line_and_its_traceback_is_in_the_log(
    finished_run, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    before = (run / "log.txt").read_text()
    monkeypatch.setattr("layershap.stages.report.gather", lambda *_, **__: {}["a fault of ours"])
    status, _, err = call("report", run)
    assert status == 1
    assert err.count("\n") == 1
    assert "unexpected KeyError" in err
    assert str(run / "log.txt") in err
    after = (run / "log.txt").read_text()
    assert after.startswith(before)
    assert "Traceback (most recent call last)" in after[len(before) :]


def test_nothing_is_made_where_there_is_no_run(tmp_path):
    with pytest.raises(KeyError) as caught, logged(tmp_path / "none"):
        raise KeyError
    assert log_of(caught.value) is None
    assert not (tmp_path / "none").exists()


def test_what_was_said_before_the_directory_was_there_is_kept(tmp_path):
    folder = tmp_path / "run"
    console = Console(quiet=True)
    with logged(folder):
        console.say("before")
        folder.mkdir()
        console.warn("after")
    text = (folder / "log.txt").read_text()
    assert text.index("INFO layershap.terminal.console: before") < text.index("WARNING")
    console.say("outside")
    assert "outside" not in (folder / "log.txt").read_text()
    assert logging.getLogger("layershap").level == logging.NOTSET


def test_warnings_are_logged_and_still_shown(tmp_path):
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with logged(tmp_path):
            warnings.warn("a thing is old", FutureWarning, stacklevel=1)
    assert [str(one.message) for one in shown] == ["a thing is old"]
    assert "FutureWarning: a thing is old" in (tmp_path / "log.txt").read_text()


def test_its_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(log_file, "MOST_BYTES", 2000)
    console = Console(quiet=True)
    with logged(tmp_path):
        for number in range(200):
            console.say(f"line {number} " + "x" * 80)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["log.txt", "log.txt.1", "log.txt.2"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 6000
    assert "ended" in (tmp_path / "log.txt").read_text()


def test_secrets_stay_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "correct-horse")
    monkeypatch.setenv("MY_API_KEY", "battery-staple")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "falsely")
    said = (
        "correct-horse battery-staple hf_abcdefghij123 Bearer abc.def --token t0p "
        "https://me:pass@host/x falsely"
    )
    with logged(tmp_path):
        Console(quiet=True).say(said)
    with pytest.raises(RuntimeError), logged(tmp_path):
        raise RuntimeError("correct-horse")
    text = (tmp_path / "log.txt").read_text()
    for secret in ("correct-horse", "battery-staple", "hf_abc", "abc.def", "t0p", "me:pass"):
        assert secret not in text
    assert "falsely" in text
    assert without_secrets("https://host/x?a=1") == "https://host/x?a=1"
