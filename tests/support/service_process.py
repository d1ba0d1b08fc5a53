"""`layershap serve` as a process of its own, for tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2


@contextmanager
def served(run: Path, *options: str) -> Iterator[tuple[httpx2.Client, subprocess.Popen[str]]]:
    """`layershap serve` as a process of its own."""
    home = str(Path(__file__).parents[2])
    command = (sys.executable, "-P", "-m", "layershap", "serve", str(run), "--port", "0", *options)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": home},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), process.communicate()
        with httpx2.Client(base_url=line.split()[0], timeout=60) as client:
            yield client, process
    finally:
        process.kill()
        process.communicate()
