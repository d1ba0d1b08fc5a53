"""What repair leaves of the damage of removed layers, on held-out text, beside published methods.

    python -m benchmarks.repair --json FILE [--model PATH] [--sets 20] [--calibration FILE]

Sets of 2 to 10 layers, contiguous and scattered, and of halves, are drawn by a seed before anything
is measured. Of each, methods that are exact in stock weights are fitted on two thirds of the
calibration text and chosen on the rest; the best is fitted again on all of it and measured on
held-out text. LinearPatch, ReplaceMe and Prune&Comp are fitted as published on the same text. The
embedded model takes the demo's text, another model the files of --calibration and --heldout.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int
from transformers import AutoModelForCausalLM

from benchmarks.support.repair_sets import (
    RepairSet,
    geometric_mean,
    paired_interval,
    repair_sets,
)
from benchmarks.support.repair_texts import read_texts
from benchmarks.support.report_bars import Bar, write
from decoder import ModelError, ModelSpec, TextError, load_model, load_tokenizer
from decoder.model.loading import stored_dtype
from decoder.recovery.choose import ChosenRepair, choose_on, split_sequences
from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.dense import DenseStream
from decoder.recovery.loss import sequence_losses
from decoder.recovery.modules import repaired
from decoder.recovery.repair import Repair, fit_to
from decoder.surgery.export import write as write_checkpoint
from layershap.demo import MODEL_DIRECTORY

PUBLISHED = ("linear_patch", "replace_me_published", "scalar_published")
METHODS = ("down_projection", "sequential", "readers_last", "readers_sequential")
SHARE = {True: 0.60, False: 0.48}
"""Of deletion's damage that may be left: of the embedded model, of another."""


@dataclass(frozen=True)
class Measured:
    """One set.

    Attributes:
        chosen: what was chosen, and all that was tried.
        deleted: held-out losses by sequence without repair.
        own: the same with it.
        published: the same of each published method.
    """

    chosen: ChosenRepair
    deleted: Float64[np.ndarray, "S"]
    own: Float64[np.ndarray, "S"]
    published: dict[str, Float64[np.ndarray, "S"]]


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    spec = ModelSpec(options.model or str(MODEL_DIRECTORY))
    try:
        model, tokenizer = load_model(spec), load_tokenizer(spec)
        calibration, heldout = read_texts(options, tokenizer, options.sequences)
    except (ModelError, TextError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    fitted, compared = split_sequences(calibration)
    anatomy = Anatomy(model)
    seconds = _statistics_share(anatomy, fitted, options.threads)
    dense, every = DenseStream(anatomy, fitted), DenseStream(anatomy, calibration)
    whole = sequence_losses(model, heldout)
    print(
        f"{len(calibration)} x {calibration.shape[1]} calibration tokens, {heldout.size} held out"
    )
    header = ("set", "deleted", "repaired", "share", *PUBLISHED, "method")
    print(f"{header[0]:<34}" + "".join(f"{name[:12]:>13}" for name in header[1:]))
    rows: list[tuple[RepairSet, Measured]] = []
    for one in repair_sets(anatomy.depth, options.sets):
        found = _measure(dense, every, one, compared, heldout, spec, options)
        rows.append((one, found))
        _show(one, found, whole)
    agreements = _exports(spec, [found.chosen.repair for _, found in rows[: options.exports]])
    bars = _bars(rows, whole, options.model is None, seconds, agreements)
    write(options.json, bars, rows=[_entry(one, found, whole) for one, found in rows])


def _options() -> Any:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--model", help="checkpoint directory [the embedded model]")
    parser.add_argument("--calibration", help="text file to fit on, with --model")
    parser.add_argument("--heldout", help="text file to measure on, with --model")
    sizes = {
        "sets": (20, "sets"),
        "sequences": (144, "calibration sequences"),
        "heldout-sequences": (24, "held-out sequences"),
        "length": (256, "tokens a sequence"),
        "exports": (6, "repaired sets that are exported and loaded"),
        "threads": (1, "threads of the linear algebra"),
    }
    for name, (default, meaning) in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{meaning} [{default}]")
    some = ",".join(METHODS)
    parser.add_argument("--methods", default=some, help=f"names to choose from [{some}]")
    parser.add_argument("--untie", action="store_true", help="allow a head of its own")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    return options


def _statistics_share(anatomy: Anatomy, tokens: Int[np.ndarray, "S T"], threads: int) -> float:
    """Seconds of one cut's statistics in the middle, as a share of a dense pass."""
    middle = repair_sets(anatomy.depth, 1)[0]
    start = time.perf_counter()
    DenseStream(anatomy, tokens).at(2 * anatomy.depth)
    plain = time.perf_counter() - start
    start = time.perf_counter()
    fit_to(DenseStream(anatomy, tokens), middle.edits, "down_projection")
    return (time.perf_counter() - start) / plain


def _measure(
    dense: DenseStream,
    every: DenseStream,
    one: RepairSet,
    compared: Int[np.ndarray, "C T"],
    heldout: Int[np.ndarray, "H T"],
    spec: ModelSpec,
    options: Any,
) -> Measured:
    methods = options.methods.split(",")
    chosen = choose_on(
        dense, one.edits, compared, methods, options.untie, stored=stored_dtype(spec)
    )
    own = fit_to(every, one.edits, chosen.repair.method, stored_dtype(spec))
    chosen = replace(chosen, repair=own)
    published = {}
    for name in PUBLISHED:
        try:
            published[name] = _losses(dense, fit_to(every, one.edits, name), heldout)
        except ValueError:  # whole layers only
            continue
    return Measured(
        chosen,
        _losses(dense, fit_to(dense, one.edits, "none"), heldout),
        _losses(dense, chosen.repair, heldout),
        published,
    )


def _losses(
    dense: DenseStream, repair: Repair, heldout: Int[np.ndarray, "H T"]
) -> Float64[np.ndarray, "H"]:
    with repaired(dense.anatomy.model, repair):
        return sequence_losses(dense.anatomy.model, heldout)


def _show(one: RepairSet, found: Measured, whole: Float64[np.ndarray, "H"]) -> None:
    entry = _entry(one, found, whole)
    costs = [entry["deleted"], entry["repaired"], entry["share"]]
    costs += [entry["published"].get(name, float("nan")) for name in PUBLISHED]
    print(
        f"{one.name:<34}" + "".join(f"{c:13.3f}" for c in costs) + f"  {entry['method']}",
        flush=True,
    )


def _entry(one: RepairSet, found: Measured, whole: Float64[np.ndarray, "H"]) -> dict[str, Any]:
    deleted, own = float((found.deleted - whole).mean()), float((found.own - whole).mean())
    return {
        "set": one.name,
        "kind": one.kind,
        "method": found.chosen.repair.method,
        "deleted": deleted,
        "repaired": own,
        "share": own / deleted,
        "interval": paired_interval(found.own, found.deleted),
        "published": {n: float((v - whole).mean()) for n, v in found.published.items()},
        "tried": {one.method: one.cost for one in found.chosen.tried},
        "seconds": sum(one.seconds for one in found.chosen.tried),
    }


def _exports(spec: ModelSpec, repairs: list[Repair]) -> list[float]:
    """Largest differences of exported checkpoints from what was fitted; stock code loads each."""
    found = []
    for repair in repairs:
        with tempfile.TemporaryDirectory() as folder:
            to = Path(folder) / "small"
            done = write_checkpoint(spec, repair.edits, to, patches=repair.patches)
            AutoModelForCausalLM.from_pretrained(to)
            agreement = done.agreement
            found.append(
                max(agreement.logits, agreement.cached, agreement.generated, agreement.saved_again)
            )
    return found


def _bars(
    rows: list[tuple[RepairSet, Measured]],
    whole: Float64[np.ndarray, "H"],
    embedded: bool,
    seconds: float,
    agreements: list[float],
) -> list[Bar]:
    share = geometric_mean([_entry(one, found, whole)["share"] for one, found in rows])
    target = SHARE[embedded]
    worse = sum(paired_interval(found.own, found.deleted)[0] > 0 for _, found in rows)
    against, behind = [], 0
    for _, found in rows:
        if not found.published:
            continue
        best = min(found.published.values(), key=lambda losses: float(losses.mean()))
        behind += paired_interval(found.own, best)[0] > 0
        against.append(float((found.own - whole).mean() / (best - whole).mean()))
    ratio = geometric_mean(against)
    largest = max(agreements, default=float("nan"))
    return [
        Bar("damage left, share of deletion's", share, f"<= {target}", share <= target),
        Bar("sets worse than deletion beyond the interval", worse, "0", worse == 0),
        Bar("sets behind the best published repair", behind, "0", behind == 0),
        Bar("damage, share of the best published", ratio, "<= 0.9", ratio <= 0.9),
        Bar("statistics of a cut, dense passes", seconds, "<= 1.5", seconds <= 1.5),
        Bar("exported checkpoints, difference", largest, "<= 1e-4", largest <= 1e-4),
    ]


if __name__ == "__main__":
    main()
