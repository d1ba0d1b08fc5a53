"""Nodes that join and leave in the middle of a campaign, on real nodes of one machine.

Each story runs in a process of its own, because a process can belong to one cluster only.
"""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from cluster import Ledger, Policy, WorkerPool, measure
from cluster.scheduler.capacity import Node, capacity
from tests.support import cluster_toys as toys
from tests.support.cluster_nodes import NODE, ROWS, check_measured_once, nodes


def story(function, tmp_path):
    """Runs a function of this module in a process of its own; returns what it printed."""
    code = (
        f"import tests.cluster.scheduler.test_nodes as t; t.{function.__name__}({str(tmp_path)!r})"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAY_DEDUP_LOGS": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def join_and_leave(folder: str) -> None:
    """A node joins in the middle, works, and leaves again."""
    with nodes(1) as (cluster, added), Ledger(f"{folder}/ledger.sqlite") as ledger:
        campaign, hurry = toys.campaign(ledger), Path(folder) / "hurry"
        steps = []

        def change(progress):
            # Each step waits for the worker that it brought to have measured something.
            workers = {name for (name,) in ledger.fetch("SELECT worker FROM measurements")}
            if len(steps) == 0 and progress.done >= 4:
                added.append(cluster.add_node(**NODE))
                steps.append(len(workers))
            elif len(steps) == 1 and len(workers) == 2:
                cluster.remove_node(added.pop(), allow_graceful=True)
                steps.append(len(workers))
            elif len(steps) == 2 and ledger.events("node lost"):
                hurry.touch()

        summary = measure(
            campaign,
            toys.Toy(seconds_each=1.0, hurry=hurry),
            ROWS,
            workers=None,
            policy=Policy(chunk_seconds=0.6, max_attempts=1),
            progress=change,
        )
        workers = ledger.fetch("SELECT worker, count(*) FROM measurements GROUP BY worker")
        ready = [event.detail["node"] for event in ledger.events("worker ready")]
    print(json.dumps({"steps": steps, "workers": workers, "ready": ready, **asdict(summary)}))


@pytest.mark.kills
def test_nodes_that_join_get_work_and_those_that_leave_cost_nothing(tmp_path):
    told = story(join_and_leave, tmp_path)
    assert told["measured"] == 64
    assert told["failed"] == 0  # although a single death would be enough
    assert told["steps"] == [1, 2]
    assert len(told["workers"]) == len(set(told["ready"])) == 2
    assert told["nodes_lost"] == 1
    assert told["deaths"] == 1
    assert told["hired"] >= 2
    check_measured_once(tmp_path)


def wait_for_room(folder: str) -> None:
    """Three workers are wanted where there is room for one; a node that vanishes is replaced."""
    with nodes(1) as (cluster, added), Ledger(f"{folder}/ledger.sqlite") as ledger:
        hurry = Path(folder) / "hurry"
        pool = WorkerPool(toys.Toy(seconds_each=1.0, hurry=hurry), workers=3, cpus_per_worker=1)
        seen = []

        def change(progress):
            seen.append(progress.workers)
            if progress.done >= 4 and len(added) == 1:
                added.append(cluster.add_node(**NODE))
            elif len(added) == 2 and progress.workers == 2:
                cluster.remove_node(added[0], allow_graceful=False)
                added.append(cluster.add_node(**NODE))
                hurry.touch()

        with pool:
            summary = measure(
                toys.campaign(ledger),
                pool,
                ROWS,
                policy=Policy(chunk_seconds=0.4, max_attempts=1),
                progress=change,
            )
    print(json.dumps({"seen": max(seen), **asdict(summary)}))


@pytest.mark.kills
def test_workers_wait_for_room_and_a_node_that_vanishes_is_no_fault_of_its_coalitions(tmp_path):
    told = story(wait_for_room, tmp_path)
    assert (told["measured"], told["failed"], told["quarantined"]) == (64, 0, [])
    assert told["seen"] >= 2  # three while the death of one has not been heard
    assert told["deaths"] >= 1
    check_measured_once(tmp_path)


@pytest.mark.parametrize(
    ("cpus", "gpus", "expected"),
    [(1, 0, 12), (2, 0, 6), (0.1, 0, 120), (1, 1, 2), (3, 0.4, 2), (1, 0.4, 4), (0, 0.5, 4)],
)
def test_room(cpus, gpus, expected):
    machines = [Node("a", "a", 8, 2), Node("b", "b", 4, 0)]
    assert capacity(machines, cpus, gpus) == expected
