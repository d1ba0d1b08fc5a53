"""Whether measuring stays within a bound on memory, with a model several times larger than it.

    python -m benchmarks.memory_bound --json FILE [--memory 1.0 --times 4 ...]

A randomly initialised Llama of `--times` the bound is written to a temporary directory, layer by
layer. A fresh process measures stratified coalitions of it within the bound: its layers are walked
breadth first, each one's weights brought in from the disk once a chunk of coalitions. The peak of
the process's resident memory, interpreter and libraries included, is read from the kernel (VmHWM).
Then a process without a bound measures the same, for comparison of numbers and of time; and a
smaller model that fits is measured on much text, asked to take all of it through a layer at once,
within a bound that this would exceed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.measuring.random_checkpoint import write_checkpoint
from benchmarks.support.measuring.steady_memory import keep_freed_memory
from benchmarks.support.options import options_parser
from benchmarks.support.report_bars import Bar, write

_GIB = 2**30


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    layer = 4 * (4 * options.width**2 + 3 * options.width * options.mlp_width)
    rest = 8 * options.vocabulary * options.width
    layers = int(-(-(options.times * options.memory * _GIB - rest) // layer))
    sizes = {
        "width": options.width,
        "mlp_width": options.mlp_width,
        "heads": options.width // 64,
        "vocabulary": options.vocabulary,
    }
    with tempfile.TemporaryDirectory(dir=options.directory) as place:
        large, small = Path(place) / "large", Path(place) / "small"
        weights = write_checkpoint(large, layers=layers, context=options.length, **sizes)
        fitting = write_checkpoint(small, layers=2, context=options.length, **sizes)
        job = {
            "coalitions": options.coalitions,
            "length": options.length,
            "vocabulary": options.vocabulary,
        }
        tight = _apart(large, layers, sequences=options.sequences, memory=options.memory, **job)
        free = _apart(large, layers, sequences=options.sequences, memory=None, **job)
        bound = (2 * fitting / _GIB) + 0.7
        many = options.sequences * options.more_text
        job["micro_batch"] = many * options.length
        long = _apart(small, 2, sequences=many, memory=bound, **job)
        loose = _apart(small, 2, sequences=many, memory=None, **job)
    difference = float(np.abs(np.array(tight["nll"]) - np.array(free["nll"])).max())
    print(
        f"model: {layers} layers, width {options.width}, {weights / _GIB:.2f} GiB of weights; "
        f"{options.coalitions} coalitions, {options.sequences} x {options.length} tokens\n"
        f"{'':<34}{'bound':>8}{'peak':>8}{'start':>8}{'seconds':>9}  plan"
    )
    for name, found, limit in (
        ("large model, within the bound", tight, options.memory),
        ("large model, no bound", free, None),
        (f"small model, {many} sequences, bound", long, bound),
        ("the same, no bound", loose, None),
    ):
        shown = "–" if limit is None else f"{limit:.2f}"
        print(
            f"{name:<34}{shown:>8}{found['peak'] / _GIB:>8.2f}{found['start'] / _GIB:>8.2f}"
            f"{found['seconds']:>9.1f}  {found['plan']}"
        )
    share = weights / _GIB / options.memory
    over, over_long = tight["peak"] / _GIB / options.memory, long["peak"] / _GIB / bound
    chunks = -(-tight["evaluated"] // tight["chunk"])
    print(f"within the bound the layers come in {chunks} times, once a chunk of coalitions")
    bars = [
        Bar("weights / bound", share, "at least 4", share >= 4),
        Bar("peak / bound, large model", over, "at most 1.1", over <= 1.1),
        Bar("peak / bound, small model, much text", over_long, "at most 1.1", over_long <= 1.1),
        Bar(
            "its peak without the bound / bound",
            loose["peak"] / _GIB / bound,
            "above 1.1: the bound binds",
            loose["peak"] / _GIB / bound > 1.1,
        ),
        Bar("largest NLL difference from no bound", difference, "at most 1e-5", difference <= 1e-5),
        Bar(
            "layer evaluations",
            tight["layer_evaluations"],
            f"{free['layer_evaluations']} without a bound",
            tight["layer_evaluations"] == free["layer_evaluations"],
        ),
    ]
    write(
        options.json,
        bars,
        sizes={k: str(v) for k, v in vars(options).items() if k != "json"},
        layers=layers,
        weights=weights,
        tight={k: v for k, v in tight.items() if k != "nll"},
        free={k: v for k, v in free.items() if k != "nll"},
        long={k: v for k, v in long.items() if k != "nll"},
        loose={k: v for k, v in loose.items() if k != "nll"},
    )


def _apart(directory: Path, layers: int, **job: Any) -> dict[str, Any]:
    """Measure in a fresh process."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(theirs, str(directory), layers), kwargs=job)
    process.start()
    theirs.close()
    try:
        found = mine.recv()
    except EOFError:
        raise SystemExit("the measuring process ended early; its output is above") from None
    process.join()
    return found


def _measure(
    pipe: Any,
    directory: str,
    layers: int,
    *,
    coalitions: int,
    sequences: int,
    length: int,
    vocabulary: int,
    memory: float | None,
    micro_batch: int | None = None,
) -> None:
    from decoder import MeasureOptions, ModelSpec, TokenText, Workload, build_evaluator
    from sampling import even_quotas, stratified, stream

    spec = ModelSpec(directory, device="cpu")
    tokens = stream(0, "memory bound").integers(0, vocabulary, (sequences, length))
    count = min(coalitions, 2**layers)
    rows = stratified(layers, even_quotas(layers, range(layers // 2 + 1), count), seed=0)
    start = _status("VmHWM")
    began = time.perf_counter()
    workload = Workload(TokenText(tokens, "random"))
    options = MeasureOptions(memory=memory, micro_batch=micro_batch)
    masked = build_evaluator(spec, workload, options)
    nll = masked.measure(rows)["nll"]
    pipe.send(
        {
            "nll": nll.tolist(),
            "start": start,
            "peak": _status("VmHWM"),
            "seconds": time.perf_counter() - began,
            "plan": str(masked.plan),
            "chunk": masked.plan.chunk if masked.plan.breadth else len(rows),
            "evaluated": len(rows),
            "layer_evaluations": masked.layer_evaluations // masked.batches,
        }
    )


def _status(name: str) -> int:
    """A figure in bytes from the kernel's account of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("this benchmark needs Linux: it reads /proc/self/status")


def _options() -> argparse.Namespace:
    sizes = {
        "width": (2048, "of the hidden states"),
        "mlp-width": (5632, "of the MLP"),
        "vocabulary": (4096, "token types"),
        "sequences": (2, "sequences measured"),
        "more-text": (64, "times as many sequences for the small model"),
        "length": (128, "tokens a sequence"),
        "coalitions": (16, "coalitions measured"),
    }
    parser = options_parser(__doc__, sizes)
    parser.add_argument("--directory", type=Path, help="for the checkpoint [the system's]")
    parser.add_argument("--memory", type=float, default=1.0, help="bound in GiB [1.0]")
    parser.add_argument("--times", type=float, default=4.0, help="model size over bound [4]")
    return parser.parse_args()


if __name__ == "__main__":
    keep_freed_memory("benchmarks.memory_bound")
    main()
