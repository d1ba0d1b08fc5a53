"""How good the sets are that the search finds, beside the published methods'.

    python -m benchmarks.search_sets --json FILE [--parts known,open,large] [--seeds 20]

known: exact tables of real language models' games (`benchmarks.game_tables`, made when missing,
which takes about 40 minutes) and synthetic ones; the best set of every count is known. open: the
24 attention and MLP halves of the demo model, every published method on the same text with twice
the evaluations, held-out text (about half an hour; kept in the folder, so that an interrupted run
goes on where it was). large: all searches on a surrogate of 64 players.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.game_tables import GAMES, TABLES, build_tables
from benchmarks.support.report_bars import Bar, write
from benchmarks.support.sets import known_optima, large_search, open_search
from benchmarks.support.synthetic_tables import SYNTHETIC, synthetic_table

PARTS = ("known", "open", "large")
_DEFAULT_GAMES = [name for name in GAMES if name != "early_layers"]


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    parts = options.parts.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        print(f"--parts {unknown[0]}: unknown; parts: {', '.join(PARTS)}", file=sys.stderr)
        raise SystemExit(2)
    reached: list[Bar] = []
    raw: dict[str, Any] = {}
    if "known" in parts:
        raw["known"] = known_optima.known_optima(_tables(options), options.seeds)
        reached += known_optima.bars(raw["known"])
    if "open" in parts:
        raw["open"] = open_search.open_search(options.folder, options.a_player)
        _print_open(raw["open"])
        reached += open_search.bars(raw["open"])
    if "large" in parts:
        raw["large"] = large_search.large_search()
        reached += large_search.bars(raw["large"])
    write(options.json, reached, **raw)


def _tables(options: argparse.Namespace) -> dict[str, np.ndarray]:
    names = options.games.split(",")
    try:
        paths = build_tables(options.tables, [name for name in names if name in GAMES])
    except ValueError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    tables = {name: np.load(path, allow_pickle=False) for name, path in paths.items()}
    return tables | {name: synthetic_table(name) for name in names if name in SYNTHETIC}


def _print_open(found: Mapping[str, Any]) -> None:
    """The losses of all methods by count, calibration then held-out."""
    for text in ("calibration", "heldout"):
        print(f"\n{text}, nats per token, by number of halves removed")
        for name, by_count in found[text].items():
            cells = " ".join(f"{loss:7.4f}" for loss in by_count.values())
            print(f"{name:<28} {found['tokens'][name] / 1e6:6.2f} M tokens {cells}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {', '.join(PARTS)} [all]")
    parser.add_argument("--seeds", type=int, default=20, help="of each table [20]")
    parser.add_argument(
        "--games",
        default=",".join([*_DEFAULT_GAMES, *SYNTHETIC]),
        help="tables, separated by commas [all]",
    )
    parser.add_argument("--tables", type=Path, default=TABLES, help=f"folder of tables [{TABLES}]")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("runs/bench/search_sets_open"),
        help="of what the open part keeps",
    )
    parser.add_argument(
        "--a-player", type=int, default=open_search.A_PLAYER, help="evaluations a player [40]"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
