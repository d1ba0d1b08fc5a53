import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from cluster import ClusterUnreachable, connect


def refused(address):
    began = time.perf_counter()
    with pytest.raises(ClusterUnreachable) as caught, connect(address, workers=1):
        pass
    assert time.perf_counter() - began < 15
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nobody_at_the_address():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    text = refused(f"127.0.0.1:{port}")
    assert f"127.0.0.1:{port}" in text
    assert "refused" in text
    assert "ray start --head" in text


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_somebody_else_at_the_address(answer):
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve():
            line, _ = server.accept()
            with line:
                line.recv(100)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        text = refused(f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert "something else" in text


def test_a_server_that_never_answers():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        assert "timed out" in refused(f"ray://127.0.0.1:{server.getsockname()[1]}")


@pytest.mark.parametrize("address", ["cluster", ":6379", "host:port", "host:99999", ""])
def test_addresses_that_are_none(address):
    assert "host:port" in refused(address)


def test_auto_without_a_cluster(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert "finds no Ray cluster" in refused("auto")
    (tmp_path / "ray").mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        stale = f"127.0.0.1:{server.getsockname()[1]}"
    (tmp_path / "ray" / "ray_current_cluster").write_text(stale)
    assert stale in refused("auto")


def test_a_ledger_needs_no_ray():
    code = "import sys, cluster; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_is_connected_keeps_its_connection(ray_address):
    import ray

    with connect(None, workers=1) as session:
        assert not session.started
        assert session.cpus == 2
    assert ray.is_initialized()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["token", "disabled"])
def test_a_user_with_a_token_and_a_cluster_with_or_without_a_guard(tmp_path, mode):
    """What a user does: `ray start --head`, then a driver of its own with that address."""
    ray = Path(sys.executable).with_name("ray")
    # A process that has started a local cluster has the mode of that one in its environment.
    mine = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_MODE"}
    home = {**mine, "HOME": str(tmp_path), "RAY_TMPDIR": "/tmp"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    subprocess.run([ray, "get-auth-token", "--generate"], env=home, check=True, capture_output=True)
    code = (
        f"import cluster\nwith cluster.connect('127.0.0.1:{port}', 1) as session:\n"
        "    import ray\n"
        "    seven = ray.remote(type('Seven', (), {'get': lambda self: 7})).remote()\n"
        "    print('cpus', session.cpus, ray.get(seven.get.remote()))"
    )
    start = [ray, "start", "--head", "--block", f"--port={port}", "--num-cpus=1"]
    start += ["--include-dashboard=false", "--disable-usage-stats"]
    guard = {**home, "RAY_AUTH_MODE": mode}
    with subprocess.Popen(
        start, env=guard, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as head:
        try:
            deadline = time.monotonic() + 60
            found = None
            while time.monotonic() < deadline and (found is None or found.returncode):
                found = subprocess.run(
                    [sys.executable, "-c", code], env=home, capture_output=True, text=True
                )
            assert found is not None
            assert "cpus 1.0 7" in found.stdout, found.stderr
        finally:
            head.terminate()
