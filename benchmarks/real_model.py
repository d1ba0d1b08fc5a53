"""How good the surrogate is where people ask: measured sets of a real language model, held out.

    python -m benchmarks.real_model --json FILE [--data FOLDER] [--seeds 5]

The folder holds `smollm2_30_layers.parquet`, as `layershap ledger RUN --export FILE` writes it:
sets of the layers of SmolLM2-135M and their losses. Five folds, each set predicted from the other
four; then a random quarter of the sets, from which all others are predicted. The ablation predicts
the same folds without the networks, with the process of all sets, and with the networks alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int
from threadpoolctl import threadpool_limits

from benchmarks.support.report_bars import Bar, write
from surrogate import SurrogateRegressor
from surrogate.ensemble.ensemble import Ensemble
from surrogate.ensemble.prediction import Predictor
from surrogate.model.scores import by_excess, score

TABLE = "smollm2_30_layers.parquet"
EDGES = (0.5, 1.0, 2.0)
FOLDS = 5
Set = Bool[np.ndarray, "m n"]
Column = Float[np.ndarray, "m"]


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data/games"), help="folder [%(default)s]"
    )
    parser.add_argument("--seeds", type=int, default=5, help="of folds and fits [5]")
    options = parser.parse_args()
    path = options.data / TABLE
    if not path.is_file():
        print(f"--data {options.data}: holds no {TABLE}; name its folder", file=sys.stderr)
        raise SystemExit(2)
    coalitions, utilities = measured_sets(path)
    whole = float(utilities[coalitions.all(axis=1)][0])
    runs = [_folds(coalitions, utilities, seed) for seed in range(options.seeds)]
    quarters = [_quarter(coalitions, utilities, seed) for seed in range(options.seeds)]

    table = {name: _scores(runs, name, utilities, whole) for name in runs[0].predicted}
    print(f"{'learner':<28} {'MAE<1':>7} {'R2<1':>7} {'MAE<2':>7} {'R2<2':>7} {'Spearman':>9}")
    for name, row in table.items():
        print(f"{name:<28} " + " ".join(f"{value:7.4f}" for value in row.values()))
    own = table["surrogate"]
    near = by_excess(
        runs[0].predicted["surrogate"],
        utilities,
        whole,
        (1.0,),
        0.95,
        (runs[0].lower, runs[0].upper),
    )[0]
    bars = [
        Bar("MAE below 1 nat", (own["mae_1"]), "<= 0.017", own["mae_1"] <= 0.017),
        Bar("R2 below 1 nat", (own["r2_1"]), ">= 0.985", own["r2_1"] >= 0.985),
        Bar("MAE below 2 nats", (own["mae_2"]), "<= 0.029", own["mae_2"] <= 0.029),
        Bar("R2 below 2 nats", (own["r2_2"]), ">= 0.985", own["r2_2"] >= 0.985),
        Bar("Spearman, all sets", (own["spearman"]), ">= 0.985", own["spearman"] >= 0.985),
        Bar(
            "MAE below 1 nat from a quarter",
            float(np.mean(quarters)),
            "<= 0.038",
            float(np.mean(quarters)) <= 0.038,
        ),
        Bar(
            "median half-width below 1 nat",
            near.half_width or 0.0,
            "<= 0.09",
            (near.half_width or 1.0) <= 0.09,
        ),
    ]
    bars += _coverage_bars(runs, utilities, whole)
    without = table["processes alone"]
    bars.append(
        Bar(
            "unexplained below 2 nats, of that without the networks",
            (1.0 - own["r2_2"]) / (1.0 - without["r2_2"]),
            "< 1",
            own["r2_2"] > without["r2_2"],
        )
    )
    seconds = float(np.mean([run.seconds for run in runs]))
    print(f"\n{seconds:.1f} s a fit")
    write(options.json, bars, ablation=table, seconds_a_fit=seconds, sets=len(utilities))


def _scores(runs: list[_Held], name: str, utilities: Column, whole: float) -> dict[str, float]:
    """Mean scores of one learner, below one and two nats of excess and over all sets."""
    found = {}
    for edge in (1, 2):
        near = [
            by_excess(run.predicted[name], utilities, whole, (float(edge),), 0.95)[0].scores
            for run in runs
        ]
        found[f"mae_{edge}"] = float(np.mean([scores.mae for scores in near]))
        found[f"r2_{edge}"] = float(np.mean([scores.r2 or 0.0 for scores in near]))
    every = [score(run.predicted[name], utilities).spearman or 0.0 for run in runs]
    return found | {"spearman": float(np.mean(every))}


class _Held:
    """Held-out predictions of one seed: of the mixture and of its parts, with its intervals."""

    def __init__(self, count: int) -> None:
        self.predicted: dict[str, Column] = {}
        self.lower, self.upper = np.empty(count), np.empty(count)
        self.seconds = 0.0


def measured_sets(path: Path) -> tuple[Set, Column]:
    """Returns the calibration sets of an exported ledger and their utilities, minus nats.

    Args:
        path: of the Parquet file.
    """
    table = pq.read_table(path)
    used = np.array(table.column("campaign").to_pylist()) == "calibration"
    players = [name for name in table.column_names if name.startswith("keep_")]
    rows = np.stack([table.column(name).to_numpy().astype(bool)[used] for name in players], axis=1)
    return rows, -table.column("nll").to_numpy().astype(float)[used]


def _folds(coalitions: Set, utilities: Column, seed: int) -> _Held:
    fold = np.random.default_rng(seed).permutation(len(utilities)) % FOLDS
    held = _Held(len(utilities))
    for k in range(FOLDS):
        rows = fold == k
        start = time.perf_counter()
        with threadpool_limits(1, "blas"):
            fitted = SurrogateRegressor(seed=seed).fit(coalitions[~rows], utilities[~rows])
        held.seconds += (time.perf_counter() - start) / FOLDS
        held.lower[rows], held.upper[rows] = fitted.predict_interval(coalitions[rows])
        for name, ensemble in _ablations(fitted.ensemble_):
            column = held.predicted.setdefault(name, np.empty(len(utilities)))
            column[rows] = Predictor(ensemble)(coalitions[rows])
    return held


def _ablations(ensemble: Ensemble) -> Iterator[tuple[str, Ensemble]]:
    yield "surrogate", ensemble
    first, second = np.eye(2)
    yield "processes alone", replace(ensemble, near_mix=first, far_mix=first)
    yield "process of all sets alone", replace(ensemble, near=None, near_mix=first, far_mix=first)
    yield "networks alone", replace(ensemble, near_mix=second, far_mix=second)


def _quarter(coalitions: Set, utilities: Column, seed: int) -> float:
    order: Int[np.ndarray, "m"] = np.random.default_rng(seed).permutation(len(utilities))
    known, asked = order[: len(order) // 4], order[len(order) // 4 :]
    fitted = SurrogateRegressor(seed=seed).fit(coalitions[known], utilities[known])
    whole = float(utilities[coalitions.all(axis=1)][0])
    predicted = fitted.predict(coalitions[asked])
    return by_excess(predicted, utilities[asked], whole, (1.0,), 0.95)[0].scores.mae


def _coverage_bars(runs: list[_Held], utilities: Column, whole: float) -> list[Bar]:
    bars = []
    parts = [
        by_excess(run.predicted["surrogate"], utilities, whole, EDGES, 0.95, (run.lower, run.upper))
        for run in runs
    ]
    for bins in zip(*parts, strict=True):
        first = bins[0]
        if first.scores.count < 100:
            continue
        name = f"{first.above or 0:g} to {first.below or np.inf:g} nats"
        held = float(np.mean([part.coverage for part in bins]))
        bars.append(Bar(f"intervals hold, {name}", held, "0.93 to 0.97", 0.93 <= held <= 0.97))
    return bars


if __name__ == "__main__":
    main()
