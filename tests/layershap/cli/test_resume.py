"""A run that is killed goes on with the same command and measures only what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cluster import Ledger, LedgerError
from layershap.demo.tokenizer import train_tokenizer
from tests.support.tiny_models import tiny_model

pytestmark = pytest.mark.kills

BUDGET = 600


@pytest.fixture
def command(tmp_path):
    """`layershap measure` on a model slow enough to be caught in the middle."""
    model = tmp_path / "model"
    wide = {"num_hidden_layers": 12, "hidden_size": 128, "vocab_size": 300}
    tiny_model("llama", **wide).save_pretrained(model)
    text = "The quick brown fox jumps over the lazy dog. " * 400
    train_tokenizer([text], 300, 64).save_pretrained(model)
    (tmp_path / "text.txt").write_text(text)
    return [
        sys.executable, "-m", "layershap", "measure", str(model),
        "--calibration", str(tmp_path / "text.txt"), "--sequences", "32", "--allow-overlap",
        "--budget", str(BUDGET), "--count", "1-3", "--workers", "1", "-o",
    ]  # fmt: skip


def measured(run):
    """Number of coalitions that are durably in the ledger."""
    try:
        with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
            return ledger.campaign("calibration").counts().ok
    except LedgerError:
        return 0


def records(run):
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        return ledger.campaign("calibration").read()


@pytest.mark.slow
def test_sigkill_in_the_middle_of_measuring(command, tmp_path):
    run, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    with subprocess.Popen([*command, str(run)], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 300
        while not measured(run) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
    before = measured(run)
    assert before > 0
    again = subprocess.run([*command, str(run)], capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert "are in the ledger already" in again.stderr
    subprocess.run([*command, str(undisturbed)], check=True, capture_output=True, timeout=300)
    found, expected = records(run), records(undisturbed)
    assert before < len(found) == len(expected)
    assert (found.times_measured == 1).all()
    np.testing.assert_array_equal(found.coalitions, expected.coalitions)
    assert set(found.metrics) == {"nll", "kl", "top1"}
    for name, values in expected.metrics.items():
        np.testing.assert_array_equal(found.metrics[name], values)
