"""shapiq's estimators on tables of utilities. Run by an interpreter of its own (shapiq, lightgbm).

    python benchmarks/support/peers/shapiq_peers.py --out FOLDER --seeds 20 NAME=TABLE.npy ...

Imports nothing of this project, because shapiq 1.8 needs Python 3.12. A table holds `2^n`
utilities, bit `i` of a position is player `i`. FOLDER gets one `NAME.json` a table:

    {"table": SHA-256 of the utilities, "shapiq": version, "cells": {method: {budget: [
        {"values": [n], "evaluations": distinct coalitions, "nominal": budget it was called with},
        ...one a seed]}}}

written anew after each method and budget, so that an interrupted run goes on where it was. A cell
of a method that refuses a budget holds {"error": TEXT} in place of the values.

The table counts the distinct coalitions that were asked for. Most methods draw without
replacement and use their budget exactly. Permutation and stratified sampling ask for coalitions
again: they are called with the largest nominal budget whose distinct coalitions fit, so that
repeats cost them nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lightgbm import LGBMRegressor  # type: ignore[import-not-found]
from shapiq import __version__ as shapiq_version  # type: ignore[import-not-found]
from shapiq import approximator  # type: ignore[import-not-found]

_MOST_REPEATS = 64
_Builder = Callable[[int, int, int], Any]


class CountedTable:
    """A game for shapiq: looks utilities up and remembers which coalitions were asked for."""

    def __init__(self, utilities: np.ndarray) -> None:
        """Wraps `2^n` utilities."""
        self.utilities = utilities
        self.n = utilities.size.bit_length() - 1
        self._powers = 1 << np.arange(self.n)
        self._asked: set[int] = set()

    @property
    def distinct(self) -> int:
        """Number of distinct coalitions asked for."""
        return len(self._asked)

    def __call__(self, coalitions: np.ndarray) -> np.ndarray:
        """Returns a fresh array, which callers may change."""
        positions = np.atleast_2d(np.asarray(coalitions)).astype(np.int64) @ self._powers
        self._asked.update(positions.tolist())
        return self.utilities[positions].copy()


def _trees(seed: int, **settings: Any) -> LGBMRegressor:
    return LGBMRegressor(n_jobs=1, verbose=-1, random_state=seed, **settings)


# Arguments: players, seed, budget. Two settings of one peer are two methods.
METHODS: dict[str, _Builder] = {
    "LeverageSHAP": lambda n, seed, _: approximator.LeverageSHAP(n, random_state=seed),
    "KernelSHAP paired": lambda n, seed, _: approximator.KernelSHAP(
        n, pairing_trick=True, random_state=seed
    ),
    "OddSHAP": lambda n, seed, _: approximator.OddSHAP(n, random_state=seed),
    # Half the evaluations a term and leaves of five coalitions: better on small budgets.
    "OddSHAP small leaves": lambda n, seed, _: approximator.OddSHAP(
        n, interaction_factor=5, tree_params={"min_child_samples": 5}, random_state=seed
    ),
    "PolySHAP": lambda n, seed, _: approximator.PolySHAP(n, random_state=seed),
    # Up to order 3 with at most half as many terms as coalitions.
    "PolySHAP order 3": lambda n, seed, budget: approximator.PolySHAP(
        n, max_order=3, max_terms=max(n + 1, budget // 2), pairing_trick=True, random_state=seed
    ),
    "RegressionMSR": lambda n, seed, _: approximator.RegressionMSR(
        n, "SV", proxy_model=_trees(seed), random_state=seed
    ),
    "RegressionMSR small leaves": lambda n, seed, _: approximator.RegressionMSR(
        n, "SV", proxy_model=_trees(seed, min_child_samples=5), random_state=seed
    ),
    "permutation": lambda n, seed, _: approximator.PermutationSamplingSV(n, random_state=seed),
    "stratified": lambda n, seed, _: approximator.StratifiedSamplingSV(n, random_state=seed),
    # Stratified by player and size; every evaluation serves all players.
    "stratified SVARM": lambda n, seed, _: approximator.SVARM(n, random_state=seed),
    "stratified SVARM paired": lambda n, seed, _: approximator.SVARM(
        n, pairing_trick=True, random_state=seed
    ),
}
REPEATING = ("permutation", "stratified")


def estimate(method: str, utilities: np.ndarray, budget: int, seed: int) -> dict[str, Any]:
    """One estimate with at most `budget` distinct coalitions.

    Returns:
        values, distinct evaluations and the nominal budget; or the method's refusal as "error".
    """
    if method not in REPEATING:
        try:
            return _called(method, utilities, budget, budget, seed)
        except (ValueError, np.linalg.LinAlgError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
    # A seeded method asks for the same coalitions in the same order whatever its nominal budget,
    # so the distinct ones grow with it.
    best = _called(method, utilities, budget, budget, seed)
    low, high = budget, budget
    while high < _MOST_REPEATS * budget:
        high *= 2
        found = _called(method, utilities, high, budget, seed)
        if found["evaluations"] > budget:
            break
        low, best = high, found
    while high - low > 1:
        middle = (low + high) // 2
        found = _called(method, utilities, middle, budget, seed)
        if found["evaluations"] > budget:
            high = middle
        else:
            low, best = middle, found
    return best


def _called(
    method: str, utilities: np.ndarray, nominal: int, budget: int, seed: int
) -> dict[str, Any]:
    game = CountedTable(utilities)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = METHODS[method](game.n, seed, budget).approximate(nominal, game)
    values = [float(found[(player,)]) for player in range(game.n)]
    return {"values": values, "evaluations": game.distinct, "nominal": nominal}


def main() -> None:
    """Fills the cells that are missing."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    tables = {}
    for entry in options.tables:
        name, _, path = entry.partition("=")
        tables[name] = np.load(path, allow_pickle=False).astype(np.float64)
    methods = options.methods.split(",") if options.methods else list(METHODS)
    per_player = [int(budget) for budget in options.budgets.split(",")]
    for done, (name, utilities) in enumerate(tables.items(), 1):
        started = time.perf_counter()
        path = options.out / f"{name}.json"
        content = _content(path, utilities)
        n = utilities.size.bit_length() - 1
        for method in methods:
            for budget in (n * times for times in per_player):
                cells = content["cells"].setdefault(method, {})
                cell = cells.setdefault(str(budget), [])
                if len(cell) >= options.seeds:
                    continue
                for seed in range(len(cell), options.seeds):
                    cell.append(estimate(method, utilities, budget, seed))
                _write(path, content)
        seconds = time.perf_counter() - started
        print(f"peers {done}/{len(tables)} {name}: {seconds:.0f} s", file=sys.stderr, flush=True)


def _content(path: Path, utilities: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(utilities.tobytes()).hexdigest()
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["table"] == digest and stored["shapiq"] == shapiq_version:
            return stored
    return {"table": digest, "shapiq": shapiq_version, "cells": {}}


def _write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="+", metavar="NAME=TABLE.npy")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--seeds", type=int, default=20, help="seeds a cell [20]")
    parser.add_argument(
        "--budgets", default="5,10,25,50,100", help="budgets in coalitions a player [%(default)s]"
    )
    parser.add_argument("--methods", help="some of the methods, separated by commas [all]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
