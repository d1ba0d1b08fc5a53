"""Connecting to Ray: a small local cluster of our own, or one that somebody else runs."""

from __future__ import annotations

import logging
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterUnreachable
from cluster.scheduler.capacity import alive_nodes, capacity

__all__ = ["Session", "connect"]

CONNECT_SECONDS = 10.0
ROOM_SECONDS = 30.0
OBJECT_STORE_BYTES = 256 * 1024 * 1024  # chunks and results are small; weights never pass through
# What opens any HTTP/2 connection (RFC 9113, 3.4): the magic words, then an empty SETTINGS frame.
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_FRAME = 4
ASK_WITHOUT_TOKEN = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1])"


@dataclass(frozen=True)
class Session:
    """A connection to Ray.

    Attributes:
        address: of the cluster; empty for a local one.
        started: whether the cluster was started for this session and ends with it.
        seconds: how long connecting took.
        cpus: CPUs of the cluster.
        gpus: GPUs of the cluster.
    """

    address: str
    started: bool
    seconds: float
    cpus: float
    gpus: float


@contextmanager
def connect(
    address: str | None,
    workers: int | None = None,
    *,
    cpus_per_worker: float = 1,
    gpus_per_worker: float = 0.0,
) -> Iterator[Session]:
    """Connects to Ray for the duration of a block.

    A process that is already connected keeps its connection, and it is not closed at the end.

    Args:
        address: ``host:port`` of a cluster, ``"auto"`` for the one that this machine belongs to,
            ``ray://host:port`` for a remote one, or nothing for a local cluster of our own.
        workers: how many workers a local cluster has room for; None for as many as this process
            has cores for.
        cpus_per_worker: CPUs of each.
        gpus_per_worker: GPUs of each.

    Raises:
        ClusterUnreachable: within about 15 s, if no Ray cluster answers at the address.
    """
    began = time.perf_counter()
    if address is not None:
        address = _probe(address)
        _offer_token(address)
    import ray

    ours = not ray.is_initialized()
    if ours:
        logger = logging.getLogger("ray")
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            if address is None:
                cpus = _cores() if workers is None else math.ceil(workers * cpus_per_worker)
                _start_local(max(1, cpus), gpus_per_worker > 0)
            else:
                _join(address)
        finally:
            logger.setLevel(level)
    try:
        if address is not None:
            _await_room(cpus_per_worker, gpus_per_worker)
        resources = ray.cluster_resources()
        yield Session(
            address=address or "",
            started=ours and address is None,
            seconds=time.perf_counter() - began,
            cpus=float(resources.get("CPU", 0.0)),
            gpus=float(resources.get("GPU", 0.0)),
        )
    finally:
        if ours:
            ray.shutdown()


def _cores() -> int:
    """Returns how many cores this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _start_local(cpus: int, with_gpus: bool) -> None:
    import ray

    # Ray reads this only when it starts its own processes; the caller's environment stays as is.
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray.init(
            address="local",  # not RAY_ADDRESS: nobody asked for that cluster
            num_cpus=cpus,
            num_gpus=None if with_gpus else 0,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
        )
    finally:
        if before is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
        else:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before


def _join(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    # Ray leaves through sys.exit when a cluster stops answering in the middle of the handshake.
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise ClusterUnreachable(
            f"address {address!r} did not accept this process ({words}); check it with `ray"
            " status`, or leave the address out to measure on this machine"
        ) from error


def _await_room(cpus: float, gpus: float) -> None:
    """Waits a little for the first worker's node: clusters are often used while they start."""
    deadline = time.monotonic() + ROOM_SECONDS
    while not capacity(alive_nodes().values(), cpus, gpus) and time.monotonic() < deadline:
        time.sleep(0.5)


def _offer_token(address: str) -> None:
    """Lets Ray use this user's token, where there is one and the cluster asks for it.

    Since 2.59 `ray start` guards a cluster with the token of `~/.ray/auth_token` by default, while
    a driver shows it only when told to. A driver that is told to also asks others for it, so that
    a cluster without a guard could start no actor for it. Ray reads the mode when it is imported.
    """
    ray = sys.modules.get("ray")
    if "RAY_AUTH_MODE" in os.environ or (ray is not None and ray.is_initialized()):
        return
    named = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if not named and not (Path.home() / ".ray" / "auth_token").is_file():
        return
    if not address.startswith("ray://") and _open_to_all(address):
        return
    if ray is not None:
        raise ClusterUnreachable(
            f"the cluster at {address} asks for a token and Ray was imported too early to show"
            " one; set RAY_AUTH_MODE=token in the environment and start again"
        )
    os.environ["RAY_AUTH_MODE"] = "token"


def _open_to_all(address: str) -> bool:
    """Tells whether a cluster answers those who show no token."""
    # In a process of its own, because Ray fixes the mode for the life of a process.
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ASK_WITHOUT_TOKEN, address],
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            capture_output=True,
            timeout=6 * CONNECT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return asked.returncode == 0


def _probe(address: str) -> str:
    """Returns the address to join once something at it speaks Ray's protocol.

    Ray itself tries for minutes. A server of gRPC introduces itself at once, so a few bytes tell.
    """
    target = _local_head() if address == "auto" else address
    if target is None:
        raise ClusterUnreachable(
            "address 'auto' finds no Ray cluster on this machine; start one with `ray start"
            " --head`, or leave the address out to measure on this machine"
        )
    host, _, port = target.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ClusterUnreachable(
            f"address must be host:port, ray://host:port or 'auto', got {address!r}; leave it out"
            " to measure on this machine"
        )
    if os.environ.get("RAY_USE_TLS", "0") in ("1", "true"):
        return target  # an encrypted server says nothing to a stranger
    try:
        reason = _greeting(host.strip("[]"), int(port))
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
    if reason:
        raise ClusterUnreachable(
            f"no Ray cluster answers at {target} ({reason}); start one with `ray start --head`, or"
            " leave the address out to measure on this machine"
        )
    return target


def _greeting(host: str, port: int) -> str:
    """Returns what is wrong with the server there, or nothing."""
    with socket.create_connection((host, port), timeout=CONNECT_SECONDS) as line:
        line.sendall(HTTP2_PREFACE)
        line.settimeout(CONNECT_SECONDS / 2)
        frame = line.recv(9, socket.MSG_WAITALL)
    if len(frame) == 9 and frame[3] == SETTINGS_FRAME:
        return ""
    return "something else listens there"


def _local_head() -> str | None:
    """Returns the address that Ray has written down for this machine."""
    if given := os.environ.get("RAY_ADDRESS"):
        return given
    log_event = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    return log_event.read_text().strip() if log_event.is_file() else None
