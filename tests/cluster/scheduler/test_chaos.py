"""Deaths of every kind at random times: nothing is lost, nothing is measured twice."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict

import pytest

import sampling
from cluster import Ledger, Policy, WorkerPool, connect, measure
from tests.support import cluster_toys as toys
from tests.support.cluster_nodes import NODE, ROWS, check_measured_once, nodes

pytestmark = pytest.mark.kills

KINDS = ("process", "actor", "node")


def disturbed(folder: str, seed: int) -> None:
    """Two workers on two nodes; every kind of death twice, in random order, at random times."""
    import ray

    chance = sampling.stream(seed, "chaos")
    plan = list(chance.permutation([*KINDS, *KINDS]))
    due = time.monotonic() + chance.uniform(0.2, 1.0)
    struck = []
    with nodes(2) as (cluster, added), Ledger(f"{folder}/ledger.sqlite") as ledger:
        pool = WorkerPool(toys.Toy(seconds_each=0.12), workers=2)

        def strike(progress):
            nonlocal due
            if not plan or not pool.ready or time.monotonic() < due:
                return
            kind = plan.pop()
            victim = pool.ready[chance.integers(len(pool.ready))]
            if kind == "process":
                with suppress(ProcessLookupError):
                    os.kill(int(victim.name.rpartition(":")[2]), signal.SIGKILL)
            elif kind == "actor":
                ray.kill(victim.handle)
            else:
                node = added.pop(int(chance.integers(len(added))))
                cluster.remove_node(node, allow_graceful=bool(chance.integers(2)))
                added.append(cluster.add_node(**NODE))
            struck.append(kind)
            due = time.monotonic() + chance.uniform(0.1, 1.5)

        with pool:
            summary = measure(
                toys.campaign(ledger), pool, ROWS, policy=Policy(chunk_seconds=0.3), progress=strike
            )
    print(json.dumps({"struck": struck, **asdict(summary)}))


@pytest.mark.slow
def test_processes_actors_and_nodes_that_die(tmp_path):
    code = f"import tests.cluster.scheduler.test_chaos as t; t.disturbed({str(tmp_path)!r}, seed=0)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["measured"] == 64
    assert told["quarantined"] == []
    assert set(told["struck"]) == set(KINDS)
    assert told["deaths"] >= 3
    check_measured_once(tmp_path)


def drive(path: str, address: str) -> None:
    """A driver that is killed sooner or later."""
    with connect(address, workers=1), Ledger(path) as ledger:
        factory = toys.Toy(seconds_each=0.08)
        print("began", flush=True)
        measure(toys.campaign(ledger), factory, ROWS, workers=2, policy=Policy(chunk_seconds=0.2))


def test_drivers_that_are_killed_again_and_again(tmp_path, ray_address):
    chance = sampling.stream(0, "chaos", "driver")
    path = tmp_path / "ledger.sqlite"
    code = (
        f"import tests.cluster.scheduler.test_chaos as t; t.drive({str(path)!r}, {ray_address!r})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    kept = [0]
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE
        ) as driver:
            try:
                assert driver.stdout is not None
                assert driver.stdout.readline() == b"began\n"
                # From before the first result to some way on: each kill hits another moment.
                wanted = kept[-1] + int(chance.integers(0, 12))
                while driver.poll() is None and _counted(path) < wanted:
                    time.sleep(0.02)
                time.sleep(chance.uniform(0, 0.1))
            finally:
                driver.send_signal(signal.SIGKILL)
        kept.append(_counted(path))
    assert kept == sorted(kept)
    assert kept[-1] < 64
    with Ledger(path) as ledger:
        summary = measure(toys.campaign(ledger), toys.Toy(), ROWS, workers=1)
        assert (summary.measured, summary.skipped) == (64 - kept[-1], kept[-1])
    check_measured_once(tmp_path)


def _counted(path):
    with suppress(Exception), Ledger(path, readonly=True) as ledger:
        return ledger.campaign("calibration").counts().total
    return 0
