"""Commands that are told to stop: what they say, what they leave, and how soon they are gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster import Ledger, LedgerError
from layershap.demo.tokenizer import train_tokenizer
from layershap.runs.directory import RunDirectory
from layershap.status.run_status import standing
from layershap.terminal.progress_file import read_beat
from tests.support.tiny_models import tiny_model

pytestmark = pytest.mark.kills

PATIENCE = 120.0


def start(*words):
    home = str(Path(__file__).parents[3])
    return subprocess.Popen(
        [sys.executable, "-m", "layershap", *map(str, words)],
        env={**os.environ, "PYTHONPATH": home},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, as a terminal gives it
    )


def until(process, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def measured(run):
    try:
        with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
            return ledger.campaign("calibration").counts().ok
    except LedgerError:
        return 0


def all_gone(children):
    _, alive = psutil.wait_procs(children, timeout=60)
    return not alive


@pytest.fixture
def slow(tmp_path):
    model = tmp_path / "model"
    wide = {"num_hidden_layers": 12, "hidden_size": 128, "vocab_size": 300}
    tiny_model("llama", **wide).save_pretrained(model)
    text = "The quick brown fox jumps over the lazy dog. " * 400
    train_tokenizer([text], 300, 64).save_pretrained(model)
    (tmp_path / "text.txt").write_text(text)
    return ["run", model, "--calibration", tmp_path / "text.txt", "--sequences", 32,
            "--budget", 2000, "--count", "1-3", "--workers", 1, "--allow-overlap",
            "-o"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_measuring(slow, tmp_path, times):
    run = tmp_path / "run"
    words = [*slow, run]
    with start(*words) as process:
        until(process, lambda: measured(run) > 0)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        for _ in range(times):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.6)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    last = said.strip().splitlines()[-1]
    assert all_gone(children)
    found = standing(RunDirectory(run))
    assert not found.running
    assert "stopped in measure" in found.sentence
    assert found.evaluations > 0
    if times == 1:
        assert last == (
            "layershap: interrupted; everything measured is kept; go on with: layershap "
            + " ".join(map(str, words))
        )
        log = (run / "log.txt").read_text()
        assert "stopped by KeyboardInterrupt" in log
        assert read_beat(run) is None


@pytest.mark.slow
def test_sigterm_while_the_surrogate_is_fitted(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    before = measured(run)

    def fitting():
        beat = read_beat(run)
        return beat is not None and str(beat.task).startswith("fitting")

    with start("fit", run) as process:
        until(process, fitting)
        found = standing(RunDirectory(run))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert found.running
    assert found.stage == "fit"
    assert str(found.task).startswith("fitting the surrogate")
    assert process.returncode == 143
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1] == (
        f"layershap: terminated; everything measured is kept; go on with: layershap fit {run}"
    )
    assert measured(run) == before
    assert "stopped by Terminated" in (run / "log.txt").read_text()
