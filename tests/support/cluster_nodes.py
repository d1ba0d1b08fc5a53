"""Real nodes of a Ray cluster on one machine, and the check that all was measured once; for
tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import sampling
from cluster import Ledger, connect
from tests.support import cluster_toys as toys

ROWS = sampling.enumerate_all(6)
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}


@contextmanager
def nodes(count: int) -> Iterator:
    """A head without CPUs and so many nodes with one; this process joins them."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0})
    try:
        added = [cluster.add_node(**NODE) for _ in range(count)]
        with connect(cluster.address, workers=1):
            yield cluster, added
    finally:
        cluster.shutdown()


def undisturbed(tmp_path):
    with Ledger(tmp_path / "undisturbed.sqlite") as ledger:
        toys.campaign(ledger).record(ROWS, toys.Toy()().measure(ROWS))
        return toys.table(ledger)


def check_measured_once(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite", readonly=True) as ledger:
        assert (ledger.campaign("calibration").read().times_measured == 1).all()
        assert toys.table(ledger) == undisturbed(tmp_path)
