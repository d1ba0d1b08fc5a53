import threading
from itertools import pairwise

import cluster_toys as toys
import numpy as np
import pytest

import sampling
from cluster import Ledger, WorkerFailed, WorkerRefused, measure

ROWS = sampling.enumerate_all(6)
pytestmark = pytest.mark.usefixtures("ray_address")


def test_one_worker_and_two_write_the_same_table_and_resuming_measures_the_rest(tmp_path):
    factory = toys.Toy(nan=sampling.keys(ROWS[:1])[0])
    seen = []
    with Ledger(tmp_path / "one" / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        first = measure(campaign, factory, ROWS[::2], workers=1)
        assert (first.measured, first.skipped, first.non_finite) == (32, 0, 1)
        again = np.concatenate([ROWS, ROWS[:9]])  # repeated rows count once
        second = measure(campaign, factory, again, workers=1, progress=seen.append)
        assert (second.measured, second.skipped, second.non_finite) == (32, 32, 1)
        third = measure(campaign, factory, ROWS, workers=1)
        assert (third.measured, third.skipped, third.deaths) == (0, 64, 0)
        assert (campaign.read().times_measured == 1).all()
        assert [event.detail["missing"] for event in ledger.events("run started")] == [32, 32]
        one = toys.table(ledger)
    with Ledger(tmp_path / "two" / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        summary = measure(campaign, factory, ROWS, workers=2)
        assert (summary.measured, summary.non_finite, summary.failed) == (64, 1, 0)
        assert summary.rate > 0
        records = campaign.read(ROWS)
        assert records.ok.tolist() == [False] + [True] * 63
        np.testing.assert_allclose(records.utilities[1:], toys.utility(ROWS[1:]), rtol=1e-12)
        assert toys.table(ledger) == one
    assert seen[0].done == 32
    assert seen[-1].done == seen[-1].total == 64
    assert seen[-1].seconds_left == 0
    assert max(progress.workers for progress in seen) == 1
    assert all(before.done <= after.done for before, after in pairwise(seen))


def test_an_error_of_the_factory_is_told_once(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(WorkerRefused, match="ValueError: no such model: toy/13b") as caught:
            measure(campaign, toys.Toy(broken_factory=True), ROWS, workers=1)
        assert "\n" not in str(caught.value)
        (event,) = ledger.events("factory failed")
        assert "cluster_toys.py" in event.detail["trace"]
        assert not ledger.events("worker died")
        assert campaign.counts().total == 0


def test_an_error_of_the_evaluator_is_not_hidden(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(WorkerFailed, match="IndexError: layer 99 does not exist"):
            measure(campaign, toys.Toy(broken_measure=True), ROWS, workers=1)
        assert "in measure" in ledger.events("evaluator failed")[0].detail["trace"]
        assert ledger.events("run stopped")[0].detail["reason"] == "WorkerFailed"
        assert campaign.counts().total == 0


def test_an_interrupted_run_keeps_what_arrived_and_goes_on(tmp_path):
    def interrupt(progress):
        if progress.done >= 8:
            raise KeyboardInterrupt

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        factory = toys.Toy(seconds_each=0.02)
        with pytest.raises(KeyboardInterrupt):
            measure(campaign, factory, ROWS, workers=1, chunk_seconds=0.1, progress=interrupt)
        kept = campaign.counts().ok
        assert 8 <= kept < 64
        summary = measure(campaign, factory, ROWS, workers=1)
        assert (summary.measured, summary.skipped) == (64 - kept, kept)
        assert (campaign.read().times_measured == 1).all()


def test_a_worker_for_which_no_node_has_room(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(ValueError, match=r"needs 1 CPU and 1 GPU.* have 2 CPU 0 GPU"):
            measure(campaign, toys.Toy(), ROWS, workers=1, gpus_per_worker=1)
        with pytest.raises(ValueError, match="workers must be at least 1"):
            measure(campaign, toys.Toy(), ROWS, workers=0)
        lock = threading.Lock()
        with pytest.raises(ValueError, match="factory cannot be sent"):
            measure(campaign, lambda: lock, ROWS, workers=1)  # type: ignore[arg-type]
