"""What a search of repaired sets gains over a search of deleted ones, on held-out text.

    python -m benchmarks.repaired_search --json FILE [--model PATH --calibration FILE
        --heldout FILE] [--table PARQUET] [--counts 3,4,6,8,10]

The best sets by deletion are searched for in a table of measured sets as `layershap ledger export`
writes it, or by measuring --budget sets here. Then --repaired sets are measured repaired on the
calibration text, fitted on other text, and both searches' sets are repaired by the same means and
measured on held-out text. The embedded model takes the demo's text.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import torch
from jaxtyping import Bool, Float, Int

from benchmarks.support.repair_sets import geometric_mean, paired_interval
from benchmarks.support.repair_texts import read_texts
from benchmarks.support.report_bars import Bar, write
from decoder import (
    MaskedModel,
    ModelError,
    ModelSpec,
    TextError,
    TokenText,
    Workload,
    load_model,
    load_tokenizer,
)
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.game import RepairedModel
from decoder.recovery.loss import sequence_losses
from decoder.recovery.modules import repaired
from decoder.recovery.repair import fit_to
from decoder.surgery.edit import Remove
from layershap.demo import MODEL_DIRECTORY
from layershap.stages.repaired_search import find_repaired
from sampling import campaign_design
from shapley import State
from shapley.search import Limits, SetSearch
from surrogate.process.belief import ProcessLearner

AGAINST_REPAIRED, AGAINST_DELETED = 0.80, 0.45
_ROUNDS = 20


@dataclass(frozen=True)
class Compared:
    """The sets of one count, costs in held-out nats per token above the whole model.

    Attributes:
        count: layers removed.
        plain: the best set by deletion.
        chosen: the best set once repaired.
        deleted: of the first without repair.
        plain_repaired: of the first with it.
        chosen_repaired: of the second with it.
        interval: 95 % of the last minus the one before.
    """

    count: int
    plain: tuple[int, ...]
    chosen: tuple[int, ...]
    deleted: float
    plain_repaired: float
    chosen_repaired: float
    interval: tuple[float, float]


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    spec = ModelSpec(options.model or str(MODEL_DIRECTORY))
    try:
        model, tokenizer = load_model(spec), load_tokenizer(spec)
        total = options.sequences + options.fitted_sequences
        calibration, heldout = read_texts(options, tokenizer, total)
    except (ModelError, TextError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    measured, fitted = calibration[: options.sequences], calibration[options.sequences :]
    counts = tuple(int(count) for count in options.counts.split(","))
    plain, state = _plain(options, model, measured, counts)
    deleted = plain.result(state).sets
    workload = Workload(TokenText(measured, "calibration"))
    game, seconds = RepairedModel(model, workload, fitted), []

    def measure(rows: Bool[np.ndarray, "k n"], what: str) -> Float[np.ndarray, "k"]:
        start = time.perf_counter()
        found = -game.measure(rows)["nll"].mean(axis=1, dtype=np.float64)
        seconds.append((time.perf_counter() - start) / len(rows))
        print(f"{what}: {len(rows)} sets, {seconds[-1]:.1f} s each", flush=True)
        return found

    found, after = find_repaired(
        plain, state, measure, options.repaired, _ROUNDS, state.coalitions[:0]
    )
    del game
    pairs = [(c, deleted[c][0].removed, found.sets[c][0].removed) for c in counts]
    rows = _compare(model, fitted, heldout, pairs, options.method)
    print(f"{after.spent} sets measured repaired; held out, fitted by {options.method}:")
    for row in rows:
        print(
            f"{row.count:3d}  {_named(row.plain):<28} {row.deleted:7.3f} deleted "
            f"{row.plain_repaired:7.3f} repaired;  {_named(row.chosen):<28} "
            f"{row.chosen_repaired:7.3f} repaired"
        )
    write(options.json, _bars(rows, options.model is None), rows=[asdict(row) for row in rows])


def _options() -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--model", help="checkpoint directory [the embedded model]")
    parser.add_argument("--calibration", help="text file to search and fit on, with --model")
    parser.add_argument("--heldout", help="text file to compare on, with --model")
    parser.add_argument("--table", type=Path, help="parquet file of sets measured without repair")
    parser.add_argument("--counts", default="1,2,3,4", help="layers to remove [1,2,3,4]")
    parser.add_argument("--method", default="quick", help="of the comparison [quick]")
    sizes = {
        "budget": (240, "sets to measure without repair, where there is no table"),
        "repaired": (60, "sets to measure repaired"),
        "sequences": (8, "calibration sequences that are measured on"),
        "fitted-sequences": (16, "further ones that are fitted on"),
        "heldout-sequences": (24, "held-out sequences"),
        "length": (256, "tokens a sequence"),
        "threads": (1, "threads of the linear algebra"),
    }
    for name, (default, meaning) in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} [{default}]")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def _plain(
    options: Any, model: Any, tokens: Int[np.ndarray, "S T"], counts: tuple[int, ...]
) -> tuple[SetSearch, State]:
    """A search of deleted sets, and what it knows."""
    depth = model.config.get_text_config(decoder=True).num_hidden_layers
    players = tuple(f"L{i}" for i in range(depth))
    search = SetSearch(ProcessLearner(), counts, Limits(depth), most_a_round=4 * len(counts))
    state = State(players, np.empty((0, depth), dtype=bool), np.empty(0), 0)
    if options.table is not None:
        table = pyarrow.parquet.read_table(options.table).to_pydict()
        rows = np.array([table[f"keep_{name}"] for name in players], dtype=bool).T
        ok = np.isfinite(table["utility"]) & (np.array(table["campaign"]) == "calibration")
        return search, state.extended(rows[ok], np.array(table["utility"])[ok])
    game = MaskedModel(model, tokens)
    rows = campaign_design(depth, options.budget // 2, max(counts), 0).coalitions
    while len(rows):
        state = state.extended(rows, -game.measure(rows)["nll"].mean(axis=1, dtype=np.float64))
        rows = search.evaluate(state).most_promising(
            min(options.budget - state.spent, search.round_size(state.spent))
        )
    return search, state


def _compare(
    model: Any,
    fitted: Int[np.ndarray, "S T"],
    heldout: Int[np.ndarray, "H T"],
    pairs: Sequence[tuple[int, tuple[int, ...], tuple[int, ...]]],
    method: str,
) -> list[Compared]:
    """The sets on held-out text."""
    plain, whole = MaskedModel(model, heldout), sequence_losses(model, heldout)
    sets = list(dict.fromkeys(one for _, *both in pairs for one in both))
    rows = np.ones((len(sets), len(plain.players)), dtype=bool)
    for row, gone in zip(rows, sets, strict=True):
        row[list(gone)] = False
    deleted = dict(zip(sets, plain.measure(rows)["nll"], strict=True))
    after: dict[tuple[int, ...], np.ndarray] = {}
    if method == "quick":
        game = RepairedModel(model, Workload(TokenText(heldout, "heldout")), fitted)
        after = dict(zip(sets, game.measure(rows)["nll"], strict=True))
    else:
        dense = DenseStream(Anatomy(model), fitted)
        for gone in sets:
            with repaired(model, fit_to(dense, [Remove(i) for i in gone], method)):
                after[gone] = sequence_losses(model, heldout)
    return [
        Compared(
            count,
            one,
            other,
            float((deleted[one] - whole).mean()),
            float((after[one] - whole).mean()),
            float((after[other] - whole).mean()),
            paired_interval(after[other], after[one]),
        )
        for count, one, other in pairs
    ]


def _bars(rows: Sequence[Compared], embedded: bool) -> list[Bar]:
    repaired = geometric_mean([row.chosen_repaired / row.plain_repaired for row in rows])
    deleted = geometric_mean([row.chosen_repaired / row.deleted for row in rows])
    worse = sum(row.interval[0] > 0 for row in rows)
    changed = sum(row.plain != row.chosen for row in rows)
    aims = ("", "") if embedded else (AGAINST_REPAIRED, AGAINST_DELETED)
    names = ("its sets, share of deletion's, both repaired", "its sets, share of the best deleted")
    found = zip(names, (repaired, deleted), aims, strict=True)
    return [
        *(
            Bar(name, share, f"<= {aim}" if aim else "(of a real model)", not aim or share <= aim)
            for name, share, aim in found
        ),
        Bar("counts at which it is surely worse", worse, "0", worse == 0),
        Bar("counts at which the best set changes", changed, f"of {len(rows)}", True),
    ]


def _named(gone: Sequence[int]) -> str:
    return ",".join(map(str, gone))


if __name__ == "__main__":
    main()
