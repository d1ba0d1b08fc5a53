"""Every coalition of the demo model's layers, measured exactly, and the exact Shapley values.

    python -m benchmarks.exact_demo --json FILE [--model PATH | --random]

All 2^n coalitions are measured in one call on 4 x 256 tokens of the calibration text. A plain
loop (take the removed layers out, run a forward, the model's own loss) is timed in the same
process on random coalitions, half of them before and half after, and scaled to all coalitions
by counted work (`benchmarks.support.measuring.counted_work`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.support.measuring.counted_work import CountedWork
from benchmarks.support.measuring.plain_loops import deleting_nll, random_llama
from benchmarks.support.measuring.steady_memory import keep_freed_memory
from benchmarks.support.report_bars import Bar, write
from decoder import (
    MaskedModel,
    ModelError,
    ModelSpec,
    count_layer_evaluations,
    cut_sequences,
    load_model,
    load_tokenizer,
    tokenise,
)
from layershap.demo import MODEL_DIRECTORY
from layershap.demo.corpus import split_text
from sampling import enumerate_all, stream
from shapley import TableGame, exact_values

_HEADS_TIMED = 32


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    try:
        model, tokenizer = _random() if options.random else _load(options.model)
    except ModelError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    text = cut_sequences(
        tokenise(tokenizer, split_text("calibration")),
        sequences=options.sequences,
        length=options.length,
        source="calibration split of the demo corpus",
    )
    masked = MaskedModel(model, text.tokens)
    n = len(masked.players)
    coalitions = enumerate_all(n)
    ideal = count_layer_evaluations(coalitions)
    batches = masked.batches

    rng = stream(0, "plain loop of the exact table")
    sample = coalitions[1:][rng.permutation(len(coalitions) - 1)[: options.sample]]
    halves = np.array_split(sample, 2)
    ids_BT = torch.from_numpy(text.tokens).to(model.device)
    deleting_nll(model, ids_BT, sample[0])
    masked.measure(sample[:2])
    head_seconds = _head_seconds(masked)

    plain, losses = _plain(model, ids_BT, halves[0])
    masked.layer_evaluations = 0
    start = time.perf_counter()
    with _progress(masked, ideal * batches):
        nll = masked.measure(coalitions)["nll"].astype(np.float64).mean(1)
    seconds = time.perf_counter() - start
    evaluations = masked.layer_evaluations
    after, more = _plain(model, ids_BT, halves[1])

    work = CountedWork.of(model, *text.tokens.shape)
    plain_seconds = (plain + after) * work.deleting(coalitions) / work.deleting(sample)
    counted = work.deleting(coalitions) / work.walk(coalitions)
    speedup = plain_seconds / seconds
    positions = sample @ (1 << np.arange(n))
    difference = float(np.abs(nll[positions] - [*losses, *more]).max())

    values = exact_values(TableGame(-nll, masked.players))
    _print_values(values.values, masked.players, nll)
    layer_seconds = (seconds - len(coalitions) * head_seconds) / evaluations
    print(
        f"\n{len(coalitions):,} coalitions on {text.tokens.size:,} tokens in {seconds:.1f} s, "
        f"{torch.get_num_threads()} threads: {evaluations:,} layer passes of "
        f"{1e3 * layer_seconds:.1f} ms and {len(coalitions):,} heads of {1e3 * head_seconds:.1f} ms"
        f"\na plain loop takes {int(coalitions.sum()):,} layer passes, about {plain_seconds:.0f} s "
        f"by its time on {len(sample)} coalitions: {speedup:.2f} times as long "
        f"(counted work: {counted:.2f} times)"
    )
    bars = [
        Bar(
            "layer passes for every coalition",
            f"{evaluations:,}",
            f"{ideal * batches:,} (distinct prefixes)",
            evaluations == ideal * batches,
        ),
        Bar(
            "measured / counted speed-up over the plain loop",
            speedup / counted,
            "at least 0.9",
            speedup >= 0.9 * counted,
        ),
        Bar(
            f"largest NLL difference from the plain loop ({len(sample)} coalitions)",
            difference,
            "at most 1e-4",
            difference <= 1e-4,
        ),
    ]
    write(
        options.json,
        bars,
        model="random" if options.random else str(options.model),
        tokens=list(text.tokens.shape),
        threads=torch.get_num_threads(),
        seconds=seconds,
        layer_evaluations=evaluations,
        plain_layer_evaluations=int(coalitions.sum()),
        heads=len(coalitions),
        seconds_per_layer_evaluation=layer_seconds,
        seconds_per_head=head_seconds,
        plain_seconds=plain_seconds,
        plain_sample=len(sample),
        speedup=speedup,
        counted_speedup=counted,
        shapley={name: float(v) for name, v in zip(values.players, values.values, strict=True)},
        dense_nll=float(nll[-1]),
        empty_nll=float(nll[0]),
    )


def _load(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    spec = ModelSpec(str(path))
    return load_model(spec), load_tokenizer(spec)


def _random() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model of the demo's shape with random weights, and a tokenizer of the calibration text."""
    from layershap.demo.tokenizer import train_tokenizer
    from layershap.demo.train import Recipe

    r = Recipe()
    model = random_llama(
        width=r.width,
        mlp_width=r.mlp_width,
        layers=r.layers,
        heads=r.heads,
        vocabulary=r.vocabulary,
        context=r.context,
    )
    return model, train_tokenizer(split_text("calibration"), r.vocabulary, r.context)


def _plain(
    model: PreTrainedModel, ids_BT: torch.Tensor, coalitions: Bool[np.ndarray, "B n"]
) -> tuple[float, list[float]]:
    start = time.perf_counter()
    losses = [deleting_nll(model, ids_BT, row) for row in coalitions]
    return time.perf_counter() - start, losses


def _head_seconds(masked: MaskedModel) -> float:
    """Seconds of one head: the empty coalition has nothing else to compute."""
    nobody = np.zeros((1, len(masked.players)), dtype=bool)
    times = []
    for _ in range(_HEADS_TIMED):
        start = time.perf_counter()
        masked.measure(nobody)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


@contextmanager
def _progress(masked: MaskedModel, total: int) -> Iterator[None]:
    """Shows layer passes and the time left on stderr while the body runs."""
    done = threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("layer passes,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=1) as progress:
        task = progress.add_task("every coalition", total=total)

        def watch() -> None:
            while not done.wait(1.0):
                progress.update(task, completed=masked.layer_evaluations)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
            progress.update(task, completed=masked.layer_evaluations)


def _print_values(
    values: Float[np.ndarray, "n"], players: tuple[str, ...], nll: Float[np.ndarray, "M"]
) -> None:
    n = len(players)
    print(f"dense {nll[-1]:.4f} nats/token, no layers {nll[0]:.4f}\n")
    print(f"{'layer':<8}{'Shapley value':>15}{'removed alone':>15}   nats/token")
    for index, (name, value) in enumerate(zip(players, values, strict=True)):
        alone = nll[(1 << n) - 1 - (1 << index)] - nll[-1]
        print(f"{name:<8}{value:>15.4f}{alone:>15.4f}")
    print(f"{'sum':<8}{values.sum():>15.4f}   = {nll[0] - nll[-1]:.4f}, no layers minus dense")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="where to write the results")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path, default=MODEL_DIRECTORY, help="checkpoint directory")
    which.add_argument(
        "--random", action="store_true", help="random weights in the demo model's shape"
    )
    parser.add_argument("--sequences", type=int, default=4, help="sequences measured [4]")
    parser.add_argument("--length", type=int, default=256, help="tokens a sequence [256]")
    parser.add_argument("--sample", type=int, default=64, help="coalitions of the plain loop [64]")
    return parser.parse_args()


if __name__ == "__main__":
    keep_freed_memory("benchmarks.exact_demo")
    main()
