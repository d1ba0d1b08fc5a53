"""How much of a machine's matrix-product speed the walk reaches.

    python -m benchmarks.walk_efficiency --json FILE [--width 768 --layers 12 ...]

Stratified coalitions of a randomly initialised Llama are measured by `decoder.MaskedModel`. Its
work is counted on the distinct prefixes, layers and head, as the projections' matrix products
alone: attention scores, norms, activations, rotations and the log-sum-exp are not counted, so they
lower the figure. In the same run, in turns, plain matrix products of exactly these shapes are
timed.

    efficiency = (counted work / time of the walk) / (rate of the plain products, same mixture)
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from torch import nn

from benchmarks.support.measuring.plain_loops import random_llama
from benchmarks.support.measuring.steady_memory import keep_freed_memory
from benchmarks.support.options import options_parser
from benchmarks.support.report_bars import Bar, write
from decoder import MaskedModel, TokenText, Workload, count_layer_evaluations, find_stack
from sampling import even_quotas, stratified, stream

_TARGET = {"cpu": 0.75, "cuda": 0.60}


def main() -> None:
    """Runs the benchmark."""
    options = _options()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    model = random_llama(
        width=options.width,
        mlp_width=options.mlp_width or 16 * round(options.width * 8 / 3 / 16),
        layers=options.layers,
        heads=max(1, options.width // options.head_width),
        key_value_heads=options.key_value_heads,
        vocabulary=options.vocabulary,
        context=options.length,
        dtype=dtype,
        device=device,
    )
    rng = stream(0, "walk efficiency")
    tokens = rng.integers(0, options.vocabulary, (options.sequences, options.length))
    quotas = even_quotas(options.layers, range(options.layers // 2 + 1), options.coalitions)
    coalitions = stratified(options.layers, quotas, seed=0)
    workload = Workload(TokenText(tokens, "random"))
    masked = MaskedModel(model, workload, walk=options.walk, micro_batch=options.micro_batch)
    masked.measure(coalitions[:1])

    rows = min(masked.plan.tokens_a_batch, tokens.size) * masked.plan.stack
    scored = options.sequences * (options.length - 1)
    linear = [m for m in find_stack(model).layers[0].modules() if isinstance(m, nn.Linear)]
    shapes = [module.weight.shape for module in linear]
    layer = sum(2.0 * out * into for out, into in shapes) * tokens.size
    head = 2.0 * options.vocabulary * options.width * scored
    prefixes = count_layer_evaluations(coalitions)
    work = {"layers": prefixes * layer, "head": len(coalitions) * head}
    products = {
        "layers": _Products(rows, shapes, device, dtype),
        "head": _Products(
            min(rows, 1024), [torch.Size((options.vocabulary, options.width))], device, dtype
        ),
    }
    walks: list[float] = []
    evaluations = 0
    rates: dict[str, list[float]] = {name: [] for name in products}
    for _ in range(options.repeats):
        for name, product in products.items():
            rates[name].append(product.rate(options.seconds))
        before = masked.layer_evaluations
        began = time.perf_counter()
        masked.measure(coalitions)
        walks.append(time.perf_counter() - began)
        evaluations = (masked.layer_evaluations - before) // masked.batches
        for name, product in products.items():
            rates[name].append(product.rate(options.seconds))
    # The products on both sides of a walk share its weather.
    ideal = [
        sum(work[name] / statistics.mean(rates[name][2 * turn : 2 * turn + 2]) for name in work)
        for turn in range(options.repeats)
    ]
    efficiency = statistics.median(i / w for i, w in zip(ideal, walks, strict=True))
    achieved = sum(work.values()) / statistics.median(walks)
    print(
        f"{len(coalitions)} coalitions of {options.layers} layers, width {options.width}, "
        f"vocabulary {options.vocabulary}, {options.sequences} x {options.length} tokens, "
        f"{options.dtype} on {device}, {torch.get_num_threads()} threads\n"
        f"walk: {statistics.median(walks):.2f} s, {len(coalitions) / statistics.median(walks):.2f} "
        f"coalitions/s, {achieved / 1e9:.1f} GFLOP/s; plain products: layers "
        f"{statistics.median(rates['layers']) / 1e9:.1f}, head "
        f"{statistics.median(rates['head']) / 1e9:.1f} GFLOP/s"
    )
    target = _TARGET[device.type]
    bars = [
        Bar(
            "walk / plain matrix products of the same shapes, FLOP/s",
            efficiency,
            f"at least {target}",
            efficiency >= target,
        ),
        Bar(
            "layer evaluations a batch",
            evaluations,
            f"{prefixes} distinct prefixes",
            evaluations == prefixes,
        ),
    ]
    write(
        options.json,
        bars,
        sizes={name: value for name, value in vars(options).items() if name != "json"},
        threads=torch.get_num_threads(),
        plan=vars(masked.plan),
        walk_seconds=walks,
        counted_work=work,
        rates=rates,
    )


class _Products:
    """Plain products of one batch of rows with matrices of given shapes, into given memory."""

    def __init__(
        self, rows: int, shapes: Sequence[torch.Size], device: torch.device, dtype: torch.dtype
    ) -> None:
        self._weights = [torch.randn(s, device=device, dtype=dtype) * 0.02 for s in shapes]
        self._inputs = {
            into: torch.randn(rows, into, device=device, dtype=dtype) for _, into in shapes
        }
        self._outputs = {
            out: torch.empty(rows, out, device=device, dtype=dtype) for out, _ in shapes
        }
        self._work = sum(2.0 * rows * out * into for out, into in shapes)
        self._device = device
        self.rate(0.0)

    @torch.inference_mode()
    def rate(self, seconds: float) -> float:
        """FLOP/s over at least so many seconds."""
        _wait(self._device)
        began, passes = time.perf_counter(), 0
        while passes == 0 or time.perf_counter() - began < seconds:
            for weight in self._weights:
                out, into = weight.shape
                torch.mm(self._inputs[into], weight.T, out=self._outputs[out])
            passes += 1
            _wait(self._device)
        return passes * self._work / (time.perf_counter() - began)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _options() -> argparse.Namespace:
    sizes = {
        "width": (768, "of the hidden states"),
        "head-width": (64, "of an attention head"),
        "layers": (12, "players"),
        "vocabulary": (8192, "token types"),
        "sequences": (4, "sequences measured"),
        "length": (256, "tokens a sequence"),
        "coalitions": (32, "coalitions measured"),
        "repeats": (3, "turns"),
    }
    parser = options_parser(__doc__, sizes, device=True)
    parser.add_argument("--walk", default="auto", choices=["auto", "depth", "breadth"])
    parser.add_argument("--micro-batch", type=int, help="tokens through a layer at once")
    parser.add_argument("--mlp-width", type=int, help="of the MLP [8/3 of the width]")
    parser.add_argument("--key-value-heads", type=int, help="[one a query head]")
    parser.add_argument("--seconds", type=float, default=1.0, help="of plain products a turn [1]")
    return parser.parse_args()


if __name__ == "__main__":
    keep_freed_memory("benchmarks.walk_efficiency")
    main()
