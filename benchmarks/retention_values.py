"""How accurate the default values of retention are, on exactly known games of real models.

    python -m benchmarks.retention_values --json FILE [--tables FOLDER] [--seeds 5] [--peers PYTHON]

A table (`NAME.npy`) holds minus the loss in nats of all `2^n` sets; bit `i` of a position is player
`i`. The estimator gets 5, 10 and 25 distinct coalitions a player of the table's retention. Told are
the squared error of the values over their square, how often the 95 % intervals hold, and what the
sets of the least values lose beside those of the exact ones (nats, mean over 1 to half of the
players). With `--peers`, an interpreter that has shapiq 1.8.0, the best of shapiq's estimators in
each cell is what the errors are compared with.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.support.peers.peers_environment import peer_estimates, peers_python
from benchmarks.support.report_bars import Bar, write
from benchmarks.support.values.estimator_cells import Cell, estimate_cells
from benchmarks.support.values.retention_cells import CellResult, cell_results
from shapley import retention

PER_PLAYER = (5, 10, 25)
MEAN_RATIO, WORST_RATIO = 0.04, 0.4
LEAST_COVER, MOST_COVER = 0.93, 0.99
MOST_REGRET = 0.02
_TABLES = Path("runs/tables")


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    try:
        losses = _tables(options.tables, options.games)
        python = None if options.peers is None else peers_python(options.peers)
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    games = {name: retention(table, float(table[-1])) for name, table in losses.items()}
    cells = [
        Cell(name, times * (len(table).bit_length() - 1), seed)
        for name, table in games.items()
        for times in PER_PLAYER
        for seed in range(options.seeds)
    ]
    folder = options.tables / "retention"
    ours = estimate_cells(games, cells, folder, options.workers)
    best: Mapping[str, Any] = {}
    if python is not None:
        best = peer_estimates(python, _kept(games, folder), folder, options.seeds, PER_PLAYER)
    rows = cell_results(losses, games, ours, best)
    for row in rows:
        print(row.text())
    write(options.json, _bars(rows), seeds=options.seeds, cells=[row.to_dict() for row in rows])


def _bars(rows: Sequence[CellResult]) -> list[Bar]:
    covered = float(np.mean([row.covered for row in rows]))
    later = [row.regret for row in rows if row.evaluations >= 10 * row.players]
    bars = [
        Bar(
            "intervals that hold the exact value",
            f"{covered:.3f}",
            f"{LEAST_COVER} to {MOST_COVER}",
            LEAST_COVER <= covered <= MOST_COVER,
        )
    ]
    if later:
        regret = float(np.mean(later))
        text = f"at most {MOST_REGRET} nats"
        bars.append(
            Bar("regret from 10n on, mean", f"{regret:+.4f} nats", text, regret <= MOST_REGRET)
        )
    ratios = [row.error / row.best_peer for row in rows if row.best_peer is not None]
    if ratios:
        mean, worst = float(np.exp(np.mean(np.log(ratios)))), max(ratios)
        bars += [
            Bar("error / best of shapiq, geometric mean", mean, MEAN_RATIO, mean <= MEAN_RATIO),
            Bar("error / best of shapiq, worst cell", worst, WORST_RATIO, worst <= WORST_RATIO),
        ]
    return bars


def _tables(folder: Path, games: str | None) -> dict[str, Float[np.ndarray, "M"]]:
    """The tables that were asked for, all of the folder's when none is named."""
    names = games.split(",") if games else sorted(path.stem for path in folder.glob("*.npy"))
    if not names:
        raise ValueError(
            f"--tables {folder}: holds no NAME.npy; see python -m benchmarks.game_tables"
        )
    tables = {}
    for name in names:
        path = folder / f"{name}.npy"
        if not path.exists():
            raise ValueError(f"--games {name}: there is no {path}; put the table there")
        table = np.load(path, allow_pickle=False).astype(np.float64)
        if table.ndim != 1 or len(table) < 8 or len(table) & (len(table) - 1):
            raise ValueError(f"{path}: must hold 2^n utilities in a row, has shape {table.shape}")
        if not np.isfinite(table).all():
            raise ValueError(
                f"{path}: must hold finite utilities only; measure the table to its end"
            )
        tables[name] = table
    return tables


def _kept(games: Mapping[str, Float[np.ndarray, "M"]], folder: Path) -> dict[str, Path]:
    """Files of the games for the peers' process."""
    paths = {name: folder / "games" / f"{name}.npy" for name in games}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, games[name], allow_pickle=False)
    return paths


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--tables", type=Path, default=_TABLES, help=f"folder [{_TABLES}]")
    parser.add_argument("--games", help="names of tables, separated by commas [all in the folder]")
    parser.add_argument("--seeds", type=int, default=5, help="seeds a cell [5]")
    parser.add_argument("--peers", type=Path, help="interpreter with shapiq 1.8.0 and lightgbm")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes [one a core]"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
