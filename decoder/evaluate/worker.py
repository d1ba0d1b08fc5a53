"""What a worker does once: load a model, whole or in streamed layers, and make it measurable."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch

from decoder.checkpoint.host import free_memory
from decoder.checkpoint.inspect import footprint
from decoder.checkpoint.offload import load_streamed
from decoder.data.workload import Workload
from decoder.evaluate.evaluator import MaskedModel
from decoder.evaluate.memory import return_freed_memory
from decoder.evaluate.walk_plan import GIB, WalkChoice
from decoder.model.loading import ModelSpec, load_model, pick_device
from decoder.players import make_roster

__all__ = ["MeasureOptions", "build_evaluator"]

_WORKING_SHARE = 0.25  # of the bound that a whole model must leave for hidden states
_LOADING = 2  # copies of a whole model while a CPU loads it: the file's pages and the weights


@dataclass(frozen=True)
class MeasureOptions:
    """How a model is measured; none of it changes what is measured beyond rounding, but `players`.

    Attributes:
        players: "layers", "sublayers" or "blocks:K".
        protect: players kept out of the game, as `decoder.players` reads them.
        walk: "auto", "depth" or "breadth".
        micro_batch: tokens that go through a layer at once.
        memory: most GiB that a worker uses: resident on a CPU, allocated on a GPU.
        compile: run layers through `torch.compile`.
    """

    players: str = "layers"
    protect: str = ""
    walk: WalkChoice = "auto"
    micro_batch: int | None = None
    memory: float | None = None
    compile: bool = False


def build_evaluator(
    spec: ModelSpec, workload: Workload, options: MeasureOptions | None = None
) -> MaskedModel:
    """Loads a model and makes it measurable.

    Args:
        spec: which model, in which type and on which device.
        workload: what to score.
        options: players, memory and batches; the defaults when omitted.

    Raises:
        ModelError: it cannot be loaded, or memory is too short for a single layer.
        TextError: the workload does not fit the model.
    """
    options = options or MeasureOptions()
    device = pick_device(spec.device)
    size = footprint(spec, device)
    roster = make_roster(options.players, size.layers, options.protect)
    source = None
    if options.memory is not None and device.type == "cpu":
        return_freed_memory()
    if _fits(size.total_bytes, device, options.memory):
        model = load_model(spec)
    else:
        model, source = load_streamed(spec, device)
    return MaskedModel(
        model,
        workload,
        roster=roster,
        walk=options.walk,
        micro_batch=options.micro_batch,
        memory=options.memory,
        source=source,
        compiled=options.compile,
    )


def _fits(weights: int, device: torch.device, memory: float | None) -> bool:
    """Whether the whole model leaves room to measure it."""
    if device.type == "cuda":
        bound = torch.cuda.mem_get_info(device)[0] if memory is None else memory * GIB
        return weights <= (1 - _WORKING_SHARE) * bound
    if memory is None:
        return _LOADING * weights <= free_memory()
    return psutil.Process().memory_info().rss + _LOADING * weights <= memory * GIB
