"""How accurate the default estimator is, beside shapiq's, on exactly known games.

    python -m benchmarks.estimators --json FILE [--seeds 20] [--games a,b] [--workers 2]

Games are exact tables: real ones of language models (`benchmarks.game_tables`, made when missing,
which takes about 40 minutes) and synthetic ones (`benchmarks.support.synthetic_tables`). Estimators
get 5, 10, 25, 50 and 100 distinct coalitions a player. shapiq 1.8 runs in a Python 3.12 environment
of its own in runs/peers, made when missing.

Everything is kept in the tables folder: an interrupted run goes on where it was, and estimates of
the default are made anew when its code has changed.
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

from benchmarks.support.peers import published_way
from benchmarks.support.peers.peers_environment import PEERS, peer_estimates, peers_python
from benchmarks.support.report_bars import Bar, write
from benchmarks.support.synthetic_tables import SYNTHETIC, synthetic_table
from benchmarks.support.values import large_game, learner_quality
from benchmarks.support.values.estimator_cells import Cell, estimate_cells
from benchmarks.support.values.estimator_report import bars, compare, print_rows
from benchmarks.support.values.our_default import code_version

PARTS = ("values", "learners", "published", "large")
_TABLES = Path("runs/tables")
Tables = dict[str, Float[np.ndarray, "M"]]


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    parts = options.parts.split(",")
    try:
        if unknown := [part for part in parts if part not in PARTS]:
            raise ValueError(f"--parts {unknown[0]}: unknown; parts: {', '.join(PARTS)}")
        # Said before hours are spent.
        python = None
        if "values" in parts and not options.skip_peers:
            python = peers_python(options.python, options.peers)
        paths = _paths(options)
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    tables = {name: np.load(path, allow_pickle=False) for name, path in paths.items()}
    real = [name for name in tables if name not in SYNTHETIC]
    reached: list[Bar] = []
    raw: dict[str, Any] = {}
    if "values" in parts:
        rows = _values(tables, paths, real, python, options)
        print_rows(rows)
        reached += bars(rows)
        raw["cells"] = [row.to_dict() for row in rows]
    models = {name: tables[name] for name in real}
    if "learners" in parts and models:
        found, raw["learners"] = learner_quality.measure(models, options.tables, options.workers)
        reached += found
    if "published" in parts and models:
        found, raw["published"] = published_way.measure(models, options.tables, options.workers)
        reached += found
    if "large" in parts:
        found, raw["large"] = large_game.measure(options.tables, options.workers)
        reached += found
    write(options.json, reached, seeds=options.seeds, code=code_version(), **raw)


def _values(
    tables: Tables,
    paths: Mapping[str, Path],
    real: Sequence[str],
    python: Path | None,
    options: argparse.Namespace,
) -> list[Any]:
    per_player = [int(times) for times in options.budgets.split(",")]
    peers = {}
    if python is not None:
        folder = options.tables / "peers"
        peers = peer_estimates(python, paths, folder, options.seeds, per_player)
    cells = [
        Cell(name, times * (table.size.bit_length() - 1), seed)
        for name, table in tables.items()
        for times in per_player
        for seed in range(options.seeds)
    ]
    ours = estimate_cells(tables, cells, options.tables, options.workers)
    return compare(tables, ours, peers, options.seeds, real)


def _paths(options: argparse.Namespace) -> dict[str, Path]:
    """The table of every game that was asked for, made if it is missing.

    A game that neither the real nor the synthetic ones know is a table of one's own, which must
    lie in the folder.
    """
    from benchmarks.game_tables import GAMES, build_tables, stored_table

    names = options.games.split(",") if options.games else [*GAMES, *SYNTHETIC]
    folder: Path = options.tables
    for name in names:
        if name not in GAMES and name not in SYNTHETIC and not stored_table(folder, name).exists():
            known = ", ".join([*GAMES, *SYNTHETIC])
            raise ValueError(
                f"--games {name}: unknown; known games: {known}; or put {name}.npy into {folder}"
            )
    build_tables(folder, [name for name in names if name in GAMES], options.second)
    for name in names:
        if name in SYNTHETIC:
            np.save(stored_table(folder, name), synthetic_table(name), allow_pickle=False)
    return {name: stored_table(folder, name) for name in names}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--seeds", type=int, default=20, help="seeds a cell [20]")
    parser.add_argument("--games", help="names, separated by commas [all real and synthetic]")
    parser.add_argument(
        "--budgets", default="5,10,25,50,100", help="in coalitions a player [%(default)s]"
    )
    parser.add_argument("--tables", type=Path, default=_TABLES, help=f"folder [{_TABLES}]")
    parser.add_argument("--second", type=Path, help="folder of a trained second model")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes [one a core]"
    )
    parser.add_argument("--skip-peers", action="store_true", help="only the default estimator")
    parser.add_argument(
        "--python",
        type=Path,
        help="interpreter with shapiq 1.8.0 and lightgbm, or of Python 3.12 to install them for",
    )
    parser.add_argument("--peers", type=Path, default=PEERS, help=f"environment [{PEERS}]")
    parser.add_argument(
        "--parts", default=",".join(PARTS), help="what to measure, separated by commas [all]"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
