"""How many workers the nodes of a cluster have room for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Node", "alive_nodes", "capacity", "check_capacity"]

ROUNDING = 1e-9  # 1 / 0.1 workers are ten


@dataclass(frozen=True)
class Node:
    """A machine of the cluster that is alive.

    Attributes:
        name: Ray's identifier.
        host: its host name.
        cpus: what it offers.
        gpus: what it offers.
    """

    name: str
    host: str
    cpus: float
    gpus: float


def alive_nodes() -> dict[str, Node]:
    """Returns the nodes that Ray knows to be alive, by their identifiers."""
    import ray

    found: dict[str, Node] = {}
    for node in ray.nodes():
        if node.get("Alive"):
            offers = node.get("Resources", {})
            found[node["NodeID"]] = Node(
                node["NodeID"],
                node.get("NodeManagerHostname", ""),
                float(offers.get("CPU", 0.0)),
                float(offers.get("GPU", 0.0)),
            )
    return found


def capacity(nodes: Iterable[Node], cpus: float, gpus: float) -> int:
    """Returns how many workers fit on nodes that have nothing else to do.

    A part of a GPU cannot lie on two of them, so 0.4 of one leaves room for two workers each.

    Args:
        nodes: machines.
        cpus: CPUs of each worker.
        gpus: GPUs of each worker.
    """
    return sum(_fits(node, cpus, gpus) for node in nodes)


def check_capacity(cpus: float, gpus: float) -> None:
    """Checks that some node could ever hold a worker.

    Raises:
        ValueError: with what a worker needs and what the nodes offer.
    """
    if min(cpus, gpus) < 0 or max(cpus, gpus) <= 0:
        raise ValueError(
            f"cpus_per_worker and gpus_per_worker must be at least 0 and one of them above, got"
            f" {cpus:g} and {gpus:g}; give what one model replica needs"
        )
    nodes = alive_nodes().values()
    if any(_fits(node, cpus, gpus) for node in nodes):
        return
    offers = ", ".join(f"{node.cpus:g} CPU {node.gpus:g} GPU" for node in nodes)
    raise ValueError(
        f"a worker needs {cpus:g} CPU and {gpus:g} GPU, the nodes of the cluster have"
        f" {offers or 'nothing'}; lower cpus_per_worker or gpus_per_worker"
    )


def _fits(node: Node, cpus: float, gpus: float) -> int:
    by_cpu = node.cpus / cpus if cpus else math.inf
    if gpus and gpus < 1:
        by_gpu = math.floor(node.gpus) * math.floor(1 / gpus + ROUNDING)
    else:
        by_gpu = node.gpus / gpus if gpus else math.inf
    return math.floor(min(by_cpu, by_gpu) + ROUNDING)
