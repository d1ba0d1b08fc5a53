import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

import sampling
from cluster import Ledger, LedgerError, Policy, WorkerFailed, measure
from tests.support import cluster_toys as toys

pytestmark = pytest.mark.kills

ROWS = sampling.enumerate_all(6)


def died_at_work(ledger):
    """Deaths on a chunk. On a crowded machine Ray may also fail to start a worker now and then."""
    return [event for event in ledger.events("worker died") if event.detail["coalitions"]]


def test_a_coalition_that_kills_its_workers_is_set_aside_and_the_rest_completes(
    tmp_path, ray_address
):
    always, once = ROWS[13], ROWS[50]
    keys = sampling.keys(ROWS)
    factory = toys.Toy(seconds_each=0.002, deadly=((keys[13], 99), (keys[50], 1)), deaths=tmp_path)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        summary = measure(
            campaign, factory, ROWS, workers=2, policy=Policy(chunk_seconds=0.004, max_attempts=2)
        )
        assert (summary.measured, summary.failed) == (63, 1)
        records = campaign.read(ROWS)
        assert [index for index, name in enumerate(records.status) if name != "ok"] == [13]
        assert records.status[13] == "failed"
        assert (records.times_measured == [index != 13 for index in range(64)]).all()
        (event,) = ledger.events("coalition quarantined")
        kept = set(toys.PLAYERS) - set(event.detail["removed"])
        assert kept == {name for name, bit in zip(toys.PLAYERS, always, strict=True) if bit}
        deaths = {key: (tmp_path / keys[key].hex()).stat().st_size for key in (13, 50)}
        assert deaths[13] >= 2
        assert deaths[50] == 1
        assert len(died_at_work(ledger)) == sum(deaths.values())
        assert summary.deaths == len(ledger.events("worker died"))
        # It stays quarantined, at no cost, until somebody asks for another attempt.
        assert measure(campaign, factory, ROWS, workers=2).failed == 1
        cured = measure(campaign, toys.Toy(), ROWS, workers=1, policy=Policy(retry_failed=True))
        assert (cured.measured, cured.failed) == (1, 0)
        assert campaign.missing(once[None]).tolist() == [False]


def test_a_worker_killed_from_outside_costs_nothing(tmp_path, ray_address):
    killed = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)

        def kill_one(progress):
            if progress.done >= 8 and not killed:
                killed.append(ledger.events("worker ready")[0].detail["pid"])
                os.kill(killed[0], signal.SIGKILL)

        summary = measure(
            campaign,
            toys.Toy(seconds_each=0.03),
            ROWS,
            workers=2,
            policy=Policy(chunk_seconds=0.2),
            progress=kill_one,
        )
        assert (summary.measured, summary.failed) == (64, 0)
        (event,) = died_at_work(ledger)
        assert event.detail["worker"].endswith(f":{killed[0]}")
        assert (campaign.read().times_measured == 1).all()
        workers = {worker for (worker,) in ledger.fetch("SELECT worker FROM measurements")}
        assert len(workers) >= 2


@pytest.mark.slow
def test_workers_that_die_of_everything_end_the_run(tmp_path, ray_address):
    deadly = tuple((key, 99) for key in sampling.keys(ROWS))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        factory = toys.Toy(deadly=deadly, deaths=tmp_path)
        with pytest.raises(WorkerFailed, match="6 workers died one after another"):
            measure(campaign, factory, ROWS, workers=1, policy=Policy(max_attempts=1))


def test_a_worker_that_dies_while_it_loads_ends_the_run(tmp_path, ray_address):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        campaign = toys.campaign(ledger)
        with pytest.raises(WorkerFailed, match="no worker survives its start"):
            measure(
                campaign,
                toys.Toy(fatal_factory=True),
                ROWS,
                workers=1,
                policy=Policy(max_attempts=2),
            )
        causes = [event.detail["cause"] for event in ledger.events("worker died")]
        assert len([cause for cause in causes if cause != "node"]) == 2


DRIVER = """
import sys
from tests.support import cluster_toys as toys
from cluster import Ledger, Policy, connect, measure
with connect(sys.argv[2], workers=1), Ledger(sys.argv[1]) as ledger:
    measure(
        toys.campaign(ledger),
        toys.Toy(seconds_each=0.1),
        toys.sampling.enumerate_all(6),
        workers=1,
        policy=Policy(chunk_seconds=0.3),
    )
"""


def test_a_driver_that_is_killed_loses_and_repeats_nothing(tmp_path, ray_address):
    path = tmp_path / "ledger.sqlite"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(path), ray_address], env=environment
    ) as driver:
        try:
            kept = 0
            while kept < 8:
                assert driver.poll() is None, "the driver ended too early"
                time.sleep(0.05)
                with suppress(LedgerError), Ledger(path, readonly=True) as ledger:
                    kept = ledger.campaign("calibration").counts().ok
        finally:
            driver.send_signal(signal.SIGKILL)
    with Ledger(path) as ledger:
        campaign = toys.campaign(ledger)
        survived = campaign.counts().ok
        assert kept <= survived < 64
        summary = measure(campaign, toys.Toy(), ROWS, workers=2)
        assert (summary.measured, summary.skipped) == (64 - survived, survived)
        assert (campaign.read().times_measured == 1).all()
        broken = toys.table(ledger)
    with Ledger(tmp_path / "undisturbed.sqlite") as ledger:
        toys.campaign(ledger).record(ROWS, toys.Toy()().measure(ROWS))
        assert toys.table(ledger) == broken
