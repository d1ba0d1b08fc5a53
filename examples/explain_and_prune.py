"""Explain a language model's layers, choose which to remove, and export the smaller checkpoint.

    python examples/explain_and_prune.py --quick    # to see that it works: under a minute
    python examples/explain_and_prune.py            # the embedded model, some minutes on 2 cores
    python examples/explain_and_prune.py --model Qwen/Qwen3-0.6B --calibration text.txt

What it shows: a whole run from Python; its frames of values, recommendations and interactions; a
prediction of a set that nobody measured, and the real model's answer; an export that stock
transformers loads; figures, where matplotlib is installed. The same command goes on with a run
that was stopped, and is quick when everything is measured. The embedded model needs no network.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import layershap

QUICK = {
    "budget": 36,
    "count": "1-2",
    "sequences": 2,
    "heldout_sequences": 3,
    "sequence_length": 64,
    "rounds": 1,
    "candidates": 1,
    "speed_rounds": 0,
}


def main() -> None:
    """Run, look, ask about sets, measure one, export."""
    parser = argparse.ArgumentParser(description="Explain, prune and export a model.")
    parser.add_argument("--model", help="checkpoint or hub id [default: the embedded model]")
    parser.add_argument("--calibration", action="append", default=[], help="text file")
    parser.add_argument("--output", type=Path, default=Path("runs/example"), help="run directory")
    parser.add_argument("--quick", action="store_true", help="a tiny budget")
    given = parser.parse_args()
    settings: dict[str, Any] = dict(QUICK) if given.quick else {}
    run = layershap.run(
        given.model, output=given.output, calibration=tuple(given.calibration), **settings
    )

    print(run.status.sentence)
    print(run.values[["value", "lower", "upper", "rank"]].round(3))
    print(run.recommendations[["removed", "cost", "lower", "upper", "perplexity"]].round(3))
    print(run.pairs.head(3).round(3))

    # The surrogate answers about sets that nobody measured; the real model has the last word.
    least = list(run.values.sort_values("rank").index[:3])
    print(run.predict(remove=least))
    print(run.measure(remove=least, text="heldout", progress=False))

    chosen = run.recommendations["removed"].iloc[0]
    place = given.output / f"without-{'-'.join(chosen)}"
    if place.exists():
        shutil.rmtree(place)  # of an earlier run of this example
    done = run.export(remove=chosen, to=place, progress=False)
    print(f"{done.path}: {done.parameters_after:,} of {done.parameters_before:,} parameters")

    from transformers import AutoModelForCausalLM

    smaller = AutoModelForCausalLM.from_pretrained(done.path)
    print(f"stock transformers loads {smaller.config.num_hidden_layers} layers of it")

    if importlib.util.find_spec("matplotlib") is not None:
        run.plot_values().savefig(given.output / "values.png")
        run.plot_frontier().savefig(given.output / "frontier.png")
    print(f"report: {given.output / 'report.html'}")


if __name__ == "__main__":
    main()
