"""shapiq in a Python environment of its own, and what it estimates there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.support.values.estimator_cells import one_thread

__all__ = ["PEERS", "PeersMissing", "peer_estimates", "peers_python"]

PEERS = Path("runs/peers")
REQUIREMENTS = ("shapiq==1.8.0", "lightgbm>=4")
_SCRIPT = Path(__file__).with_name("shapiq_peers.py")
_READY = "import lightgbm, shapiq; assert shapiq.__version__ == '1.8.0'"
_NEW_ENOUGH = "import sys, venv; assert sys.version_info >= (3, 12)"


class PeersMissing(ValueError):
    """There is no interpreter that shapiq can run on."""


def peers_python(given: Path | None, folder: Path = PEERS) -> Path:
    """An interpreter that has shapiq 1.8.0 and LightGBM; installs them if need be.

    Args:
        given: an interpreter that has them, or one of Python 3.12 or newer to make an
            environment from; looked for when omitted.
        folder: of the environment that is made.

    Raises:
        PeersMissing: no interpreter is new enough, or the packages cannot be installed.
    """
    made = folder / "bin" / "python"
    for ready in (given, made):
        if ready is not None and _runs(ready, _READY):
            return ready
    candidates = [given] if given is not None else _candidates()
    base = next((path for path in candidates if _runs(path, _NEW_ENOUGH)), None)
    if base is None:
        tried = ", ".join(map(str, candidates)) or "python3.12 on PATH and in ~/.pyenv/versions"
        raise PeersMissing(
            f"--python: shapiq 1.8 needs Python 3.12 or newer and none runs (tried: {tried});"
            " give an interpreter, or --skip-peers"
        )
    print(f"making the environment of the peers in {folder} (a minute)", file=sys.stderr)
    for command in (
        [str(base), "-m", "venv", "--clear", str(folder)],
        [str(made), "-m", "pip", "install", "--quiet", *REQUIREMENTS],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise PeersMissing(
                f"{folder}: {' '.join(command[1:4])} failed ({''.join(reason)});"
                " give --python an environment that has shapiq 1.8.0 and lightgbm"
            )
    if not _runs(made, _READY):
        raise PeersMissing(f"{folder}: shapiq 1.8.0 does not import there; remove it and try again")
    return made


def peer_estimates(
    python: Path,
    tables: Mapping[str, Path],
    folder: Path,
    seeds: int,
    per_player: Sequence[int],
) -> dict[str, dict[str, dict[str, list[dict[str, Any]]]]]:
    """Estimates of every peer, by game, method and budget; those stored in `folder` are kept.

    Raises:
        RuntimeError: the peers' process failed.
    """
    command = [str(python), str(_SCRIPT), "--out", str(folder), "--seeds", str(seeds)]
    command += ["--budgets", ",".join(map(str, per_player))]
    command += [f"{name}={path}" for name, path in tables.items()]
    done = subprocess.run(command, env=one_thread(), check=False)
    if done.returncode:
        raise RuntimeError(f"the peers' process ended with {done.returncode}; see its output above")
    stored = {name: (folder / f"{name}.json").read_text(encoding="utf-8") for name in tables}
    return {name: json.loads(text)["cells"] for name, text in stored.items()}


def _candidates() -> list[Path]:
    found = [Path(path) for path in [shutil.which("python3.12")] if path]
    versions = Path.home() / ".pyenv" / "versions"
    return found + sorted(versions.glob("3.12*/bin/python"), reverse=True)


def _runs(python: Path, code: str) -> bool:
    """Whether the interpreter runs the code: a version manager's shim may exist and not run."""
    try:
        done = subprocess.run([str(python), "-c", code], capture_output=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
