"""How quickly the query service answers over loopback.

    python -m benchmarks.serve --json FILE [--run DIR] [--seconds 60]

Serves a run as `layershap serve` does, in a process of its own, and asks it over plain sockets:
one set a request, 1,000 sets a request in each of the forms there are, and 64 clients at once for
a minute. Without ``--run`` a surrogate of a synthetic game is served, of 12 and of 32 players.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.report_bars import Bar, write
from benchmarks.surrogate_speed import layer_game
from sampling import campaign_design, stream

SETS, REQUESTS, CLIENTS = 1000, 300, 64
PLAYERS = (12, 32)
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """What many clients at once saw.

    Attributes:
        seconds: how long they asked.
        latencies: seconds of each request, in no order.
        errors: answers that were not 200.
    """

    seconds: float
    latencies: list[float]
    errors: int


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the results")
    parser.add_argument("--run", type=Path, help="a run directory to serve instead")
    parser.add_argument("--seconds", type=float, default=60.0, help="of many clients at once")
    options = parser.parse_args()
    bars: list[Bar] = []
    extra: dict[str, Any] = {"clients": CLIENTS, "seconds": options.seconds}
    with tempfile.TemporaryDirectory() as folder:
        for made in [options.run] if options.run else PLAYERS:
            if isinstance(made, int):
                print(f"fitting a surrogate of {made} players ...", flush=True)
            run = _made(Path(folder), made) if isinstance(made, int) else made
            print(f"asking {run.name}: {options.seconds:.0f} s of {CLIENTS} clients", flush=True)
            with _served(run) as address:
                found = asyncio.run(_measured(address, options.seconds))
            bars += _bars(found)
            extra[f"players_{found['players']}"] = found
    write(options.json, bars, **extra)


def _bars(found: dict[str, Any]) -> list[Bar]:
    n, one, load = found["players"], found["one_ms"], found["load"]
    bars = [Bar(f"one set, {n} players, median", f"{one:.2f} ms", "under 5 ms", one < 5.0)]
    for form, rate in found["predictions_per_second"].items():
        name = f"{SETS:,} sets a request as {form}, {n} players, predictions a second"
        bars.append(Bar(name, f"{rate:,.0f}", "at least 200,000", rate >= 200_000))
    asked = f"{CLIENTS} clients for {found['load_seconds']:.0f} s, {n} players"
    bars.append(Bar(f"{asked}, errors", load["errors"], "0", load["errors"] == 0))
    told = f"{load['p99_ms']:.1f} ms at {load['requests_per_second']:,.0f} requests a second"
    bars.append(Bar(f"{asked}, p99", told, "under 100 ms", load["p99_ms"] < 100.0))
    return bars


async def _measured(address: tuple[str, int], seconds: float) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection(*address, limit=2**24)
    about = json.loads((await _asked(reader, writer, _request("GET", "/run")))[1])
    n = len(about["players"])
    rows = stream(1, "served sets", n).random((SETS, n)) < 0.75
    one = await _median(reader, writer, _request("POST", "/predict", {"remove": [4, 6]}))
    rates = {}
    packed = np.packbits(rows, axis=1, bitorder="little").tobytes()
    forms: dict[str, Any] = {
        "packed": base64.b64encode(packed).decode(),
        "kept": ["".join("01"[int(kept)] for kept in row) for row in rows],
        "remove": [np.flatnonzero(~row).tolist() for row in rows],
    }
    for form, sets in forms.items():
        median = await _median(reader, writer, _request("POST", "/predict/many", {form: sets}))
        rates[form] = SETS / median
    writer.close()
    load = await _loaded(address, n, seconds)
    return {
        "players": n,
        "one_ms": 1e3 * one,
        "predictions_per_second": rates,
        "load_seconds": load.seconds,
        "load": {
            "errors": load.errors,
            "requests": len(load.latencies),
            "requests_per_second": len(load.latencies) / load.seconds,
            "p50_ms": 1e3 * float(np.percentile(load.latencies, 50)),
            "p99_ms": 1e3 * float(np.percentile(load.latencies, 99)),
            "slowest_ms": 1e3 * max(load.latencies),
        },
    }


async def _median(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> float:
    seconds = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        status, body = await _asked(reader, writer, request)
        seconds.append(time.perf_counter() - began)
        if status != 200:
            raise RuntimeError(f"the service answered {status}: {body[:200]!r}")
    return statistics.median(seconds)


async def _loaded(address: tuple[str, int], n: int, seconds: float) -> Load:
    latencies: list[float] = []
    errors = 0
    links = [await asyncio.open_connection(*address) for _ in range(CLIENTS)]
    began = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal errors
        reader, writer = links[number]
        draws = stream(number, "client").integers(n, size=(997, 3)).tolist()
        asked = 0
        while time.perf_counter() - began < seconds:
            request = _request("POST", "/predict", {"remove": draws[asked % 997]})
            start = time.perf_counter()
            try:
                status, _ = await _asked(reader, writer, request)
            except (ConnectionError, asyncio.IncompleteReadError):
                errors += 1
                return
            latencies.append(time.perf_counter() - start)
            errors += status != 200
            asked += 1
        writer.close()

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return Load(time.perf_counter() - began, latencies, errors)


def _request(method: str, path: str, content: Any = None) -> bytes:
    body = b"" if content is None else json.dumps(content).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


async def _asked(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    assert length is not None
    return int(head[9:12]), await reader.readexactly(int(length[1]))


@contextmanager
def _served(run: Path) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = (sys.executable, "-m", "layershap", "serve", str(run), "--port", str(port))
    process = subprocess.Popen(
        (*command, "--no-measuring"), stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("http"):
            raise RuntimeError(f"the service did not start: {' '.join(command)}")
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(30)


def _made(folder: Path, n: int) -> Path:
    """Writes the run directory of a synthetic game: ledger, surrogate and configuration."""
    from cluster import Column, Ledger
    from layershap.runs.config import RunConfig
    from layershap.runs.directory import RunDirectory
    from surrogate import SurrogateRegressor, save

    directory = RunDirectory(folder / f"players-{n}")
    directory.create()
    directory.write_config(RunConfig())
    game = layer_game(n, seed=1)
    rows = campaign_design(n, 25 * n, n // 2, seed=3).coalitions
    rows = np.unique(np.concatenate([np.ones((1, n), dtype=bool), rows]), axis=0)
    utilities = game(rows)
    names = tuple(f"L{layer}" for layer in range(n))
    details = {"players": "layers", "depth": n, "protected": ""}
    with Ledger(directory.ledger) as ledger:
        columns = [Column("nll", (1,), -1)]
        campaign = ledger.open_campaign("calibration", f"synthetic {n}", names, columns, details)
        campaign.record(rows, {"nll": -utilities[:, None].astype(np.float32)})
    save(SurrogateRegressor().fit(rows, utilities), directory.surrogate)
    return directory.path


if __name__ == "__main__":
    main()
