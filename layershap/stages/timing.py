"""Speed, memory and size of smaller models as an export would write them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from decoder import find_stack
from decoder.cost.speed import Speed as TimedSpeed
from decoder.cost.speed import measure_speed
from decoder.surgery.repack import Block, Packing, packed, plan_packing
from layershap.results.recommendations import Speed
from layershap.runs.workspace import Workspace
from layershap.stages.contenders import Variant
from layershap.terminal.console import Steps

__all__ = ["Size", "measure_sizes"]

_FEW_TOKENS = 16


@dataclass(frozen=True)
class Size:
    """How small and how fast a variant is.

    Attributes:
        parameters_saved: against the whole model.
        speed: None where nothing is timed.
    """

    parameters_saved: int
    speed: Speed | None = None


def measure_sizes(work: Workspace, variants: Sequence[Variant]) -> dict[Variant, Size]:
    """Measure the size of each variant and, unless the run times nothing, its speed.

    Whole layers go; an attention and the MLP of a deeper layer that follow each other share one
    layer where the model allows it; any other half that goes alone is zeroed and saves nothing.
    Where layers are merged, those that stay are as large as before.

    Args:
        work: the run.
        variants: what to time, the whole model among them.
    """
    model, roster = work.model, work.roster
    stack, dense = find_stack(model), model.num_parameters()
    tokens = work.texts.heldout.tokens
    few_BT = torch.from_numpy(tokens[:1, :_FEW_TOKENS]).to(model.device)
    packings: dict[tuple[Block, ...], Packing] = {}
    blocks: dict[Variant, tuple[Block, ...]] = {}
    for variant in variants:
        packing = plan_packing(model, roster, variant.removed, few_BT)
        blocks[variant] = packing.blocks
        packings.setdefault(packing.blocks, packing)
    saved = {}
    for key, packing in packings.items():
        with packed(model, stack, packing):
            saved[key] = dense - model.num_parameters()
    speeds = _speeds(work, packings, blocks[Variant()]) if work.config.verify.speed_rounds else {}
    return {variant: Size(saved[key], speeds.get(key)) for variant, key in blocks.items()}


def _speeds(
    work: Workspace, packings: dict[tuple[Block, ...], Packing], whole: tuple[Block, ...]
) -> dict[tuple[Block, ...], Speed]:
    smaller = [packing for key, packing in packings.items() if key != whole]
    began = time.monotonic()
    with work.console.progress("timing") as update:
        timed = measure_speed(
            work.model,
            smaller,
            work.texts.heldout.tokens,
            rounds=work.config.verify.speed_rounds,
            progress=None if update is None else lambda *at: update(Steps.since(began, *at)),
            make=packed,
        )
    found = [_kept(speed) for speed in timed]  # the whole model comes first
    return dict(zip([whole, *(packing.blocks for packing in smaller)], found, strict=True))


def _kept(speed: TimedSpeed) -> Speed:
    return Speed(**{name: value for name, value in vars(speed).items() if name != "removed"})
