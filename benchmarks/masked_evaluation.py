"""How much faster many coalitions are measured than one by one.

    python -m benchmarks.masked_evaluation --json FILE [--width 512 --layers 24 ...]

Stratified coalitions that keep 50 to 100 % of the layers of a randomly initialised Llama are
measured three ways in one process, taking turns:

    walk      `decoder.MaskedModel`, all coalitions in one call, its construction included; it gives
              NLL, divergence and top-1 agreement a sequence
    zeroing   one forward a coalition with the removed layers' weights cloned, zeroed, restored;
              the model's own loss (the way of the published code)
    deleting  one forward a coalition with the removed layers taken out; the model's own loss

The one-by-one ways are timed on a random subset and scaled to all coalitions by counted work
(`benchmarks.support.measuring.counted_work`). Ratios are taken inside each repeat; bars are their
medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import Progress
from transformers import PreTrainedModel

from benchmarks.support.measuring.counted_work import CountedWork
from benchmarks.support.measuring.plain_loops import deleting_nll, random_llama, zeroing_nll
from benchmarks.support.measuring.steady_memory import keep_freed_memory
from benchmarks.support.options import options_parser
from benchmarks.support.report_bars import Bar, write
from decoder import MaskedModel, count_layer_evaluations
from sampling import even_quotas, stratified, stream

_DIFFERENCE = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}  # nats per token


@dataclass(frozen=True)
class Timing:
    """One repeat: seconds of the walk over all and of the plain loops over the subset."""

    walk: float
    zeroing: float
    deleting: float


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    length, sequences = options.length, options.sequences
    model = random_llama(
        width=options.width,
        mlp_width=16 * round(options.width * 8 / 3 / 16),
        layers=options.layers,
        heads=max(1, options.width // 64),
        vocabulary=options.vocabulary,
        context=length,
    )
    model = model.to(options.device, getattr(torch, options.dtype))
    rng = stream(0, "masked evaluation")
    tokens = rng.integers(0, options.vocabulary, (sequences, length))
    removals = range(options.layers // 2 + 1)
    quotas = even_quotas(options.layers, removals, options.coalitions)
    coalitions = stratified(options.layers, quotas, seed=0)
    chosen = rng.choice(len(coalitions), min(options.subset, len(coalitions)), replace=False)
    subset = coalitions[chosen]
    work = CountedWork.of(model, sequences, length)

    timings, found, plain, evaluations = _measure(
        model, tokens, coalitions, chosen, options.repeats
    )
    to_all_zeroing = work.zeroing(coalitions) / work.zeroing(subset)
    to_all_deleting = work.deleting(coalitions) / work.deleting(subset)
    over_zeroing = statistics.median(t.zeroing * to_all_zeroing / t.walk for t in timings)
    over_deleting = statistics.median(t.deleting * to_all_deleting / t.walk for t in timings)
    counted = work.deleting(coalitions) / work.walk(coalitions)
    difference = float(np.abs(found[chosen] - plain["deleting"]).max())

    print(
        f"{len(coalitions)} coalitions of {options.layers} layers, width {options.width}, "
        f"vocabulary {options.vocabulary}, {sequences} x {length} tokens, "
        f"{options.dtype} on {options.device}, {torch.get_num_threads()} threads; "
        f"NLL from {found.min():.2f} to {found.max():.2f}"
    )
    seconds = {
        "walk": statistics.median(t.walk for t in timings),
        "zeroing": statistics.median(t.zeroing for t in timings) * to_all_zeroing,
        "deleting": statistics.median(t.deleting for t in timings) * to_all_deleting,
    }
    tera = {name: getattr(work, name)(coalitions) / 1e12 for name in seconds}
    layers = {
        "walk": count_layer_evaluations(coalitions),
        "zeroing": coalitions.size,
        "deleting": int(coalitions.sum()),
    }
    print(f"{'way':<10}{'seconds':>10}{'layer passes':>14}{'TFLOP':>8}{'GFLOP/s':>9}")
    for name in seconds:
        speed = 1000 * tera[name] / seconds[name]
        print(f"{name:<10}{seconds[name]:>10.2f}{layers[name]:>14,}{tera[name]:>8.2f}{speed:>9.1f}")
    bars = [
        Bar("speed-up over zeroing the weights", over_zeroing, "at least 2", over_zeroing >= 2),
        Bar(
            "speed-up over deleting, one by one",
            over_deleting,
            "at least 1.5",
            over_deleting >= 1.5,
        ),
        Bar(
            "measured / counted speed-up over deleting",
            over_deleting / counted,
            "at least 0.9",
            over_deleting / counted >= 0.9,
        ),
        Bar(
            f"largest NLL difference from deleting ({len(subset)} coalitions)",
            difference,
            f"at most {_DIFFERENCE[options.dtype]}",
            difference <= _DIFFERENCE[options.dtype],
        ),
        Bar(
            "layer evaluations a batch",
            evaluations,
            f"{layers['walk']} distinct prefixes",
            evaluations == layers["walk"],
        ),
    ]
    write(
        options.json,
        bars,
        sizes={name: value for name, value in vars(options).items() if name != "json"},
        threads=torch.get_num_threads(),
        seconds=seconds,
        timings=[vars(t) for t in timings],
        layer_passes=layers,
        counted_teraflop=tera,
        counted_speedup_over_deleting=counted,
        nll_difference_zeroing=float(np.abs(found[chosen] - plain["zeroing"]).max()),
    )


def _measure(
    model: PreTrainedModel,
    tokens: np.ndarray,
    coalitions: Bool[np.ndarray, "B n"],
    chosen: np.ndarray,
    repeats: int,
) -> tuple[list[Timing], Float[np.ndarray, "B"], dict[str, Float[np.ndarray, "C"]], int]:
    """Times all ways in turns.

    Returns:
        Timings, the walk's NLL of all coalitions, the loops' of the chosen ones, and the walk's
        layer evaluations a batch.
    """
    ids_BT = torch.from_numpy(tokens).to(model.device)
    loops = {"zeroing": zeroing_nll, "deleting": deleting_nll}
    plain = {name: np.zeros(len(chosen)) for name in loops}
    found, evaluations = np.zeros(len(coalitions)), 0
    timings = []
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("measuring", total=repeats * (2 * len(chosen) + 1))
        MaskedModel(model, tokens).measure(coalitions[chosen[:2]])
        for loop in loops.values():
            loop(model, ids_BT, coalitions[chosen[0]])
        for _ in range(repeats):
            spent = {"walk": 0.0, "zeroing": 0.0, "deleting": 0.0}
            for position, row in enumerate(chosen):
                # The walk runs in the middle of the subset, so that a machine that slows down
                # or speeds up does so for all three.
                if position == len(chosen) // 2:
                    start = time.perf_counter()
                    masked = MaskedModel(model, tokens)
                    found = masked.measure(coalitions)["nll"].mean(1)
                    evaluations = masked.layer_evaluations // masked.batches
                    spent["walk"] = time.perf_counter() - start
                    progress.advance(task)
                for name, loop in loops.items():
                    start = time.perf_counter()
                    plain[name][position] = loop(model, ids_BT, coalitions[row])
                    spent[name] += time.perf_counter() - start
                    progress.advance(task)
            timings.append(Timing(**spent))
    return timings, found, plain, evaluations


def _options() -> argparse.Namespace:
    sizes = {
        "width": (512, "of the hidden states"),
        "layers": (24, "players"),
        "vocabulary": (8192, "token types"),
        "sequences": (2, "sequences measured"),
        "length": (256, "tokens a sequence"),
        "coalitions": (512, "coalitions measured"),
        "subset": (24, "coalitions measured one by one"),
        "repeats": (1, "turns"),
    }
    parser = options_parser(__doc__, sizes, device=True)
    return parser.parse_args()


if __name__ == "__main__":
    keep_freed_memory("benchmarks.masked_evaluation")
    main()
