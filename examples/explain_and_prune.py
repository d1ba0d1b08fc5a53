"""Explain a language model's layers, choose which to remove, and export the smaller checkpoint.

python examples/explain_and_prune.py                 # the embedded model, about two minutes
python examples/explain_and_prune.py --quick         # a tiny budget, to see that it works
python examples/explain_and_prune.py --model Qwen/Qwen3-0.6B --calibration text.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import layershap

QUICK = {
    "budget": 36,
    "remove": "1-2",
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
    done = run.export(remove=chosen, to=given.output / "smaller", progress=False)
    print(f"{done.path}: {done.parameters_after:,} of {done.parameters_before:,} parameters")

    from transformers import AutoModelForCausalLM

    smaller = AutoModelForCausalLM.from_pretrained(done.path)
    print(f"stock transformers loads {smaller.config.num_hidden_layers} layers of it")


if __name__ == "__main__":
    main()
