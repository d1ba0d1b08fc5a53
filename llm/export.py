"""Writing the smaller model as a stock checkpoint, believed only after a comparison."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from llm.errors import ModelError
from llm.loading import ModelSpec, load_model, load_tokenizer, stored_dtype
from llm.players import Roster, make_roster
from llm.reduction import delete_layers, zero_halves
from llm.steps import Node, Steps
from llm.structure import find_stack
from llm.tail import injected
from llm.trace import record

__all__ = ["Export", "export_checkpoint"]

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}


@dataclass(frozen=True)
class Export:
    """What was written and how well it agrees.

    Attributes:
        path: the checkpoint directory.
        removed: layers that are gone, numbered as in the original.
        zeroed: halves of layers whose weights are zero, "L4.attn" say: right in every stock
            loader, but neither smaller nor faster.
        parameters_before, parameters_after: counts.
        bytes_written: size of the weights on disk.
        logit_difference: largest difference between the reloaded model's logits and those
            measured with the layers left out, as a share of the largest logit.
        cache_difference: the same between decoding with and without a cache.
    """

    path: Path
    removed: tuple[int, ...]
    zeroed: tuple[str, ...]
    parameters_before: int
    parameters_after: int
    bytes_written: int
    logit_difference: float
    cache_difference: float


def export_checkpoint(
    spec: ModelSpec,
    removed: Sequence[int],
    destination: Path,
    tokens: Int[np.ndarray, "S T"],
    *,
    roster: Roster | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Export:
    """Delete layers, save, load again with stock transformers and compare.

    A layer that goes wholly is deleted; of a half that goes alone the weights become zero.

    Args:
        spec: the model to take layers from.
        removed: players to leave out.
        destination: directory to make; must not hold anything yet.
        tokens: sequences to compare on; the first 64 tokens of two are used.
        roster: who the players are; every layer when omitted.
        provenance: what to write into `layershap.json` beside the weights.

    Raises:
        ModelError: the destination is taken, or the written checkpoint does not agree.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise ModelError(f"--to {destination}: exists and is not empty; name a new directory")
    ids_BT = torch.from_numpy(tokens[:2, :64])
    model = load_model(spec)
    ids_BT = ids_BT.to(model.device)
    before = model.num_parameters()
    roster = roster or make_roster("layers", len(find_stack(model)))
    layers, halves = roster.removed_layers(removed), roster.removed_halves(removed)
    wanted = _masked_logits(model, roster, removed, ids_BT)
    zero_halves(model, halves, ids_BT)
    delete_layers(model, layers)
    partial = destination.with_name(destination.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if spec.dtype == "auto":
            # Measured in float32 on a CPU, but a half-precision checkpoint stays one.
            torch.nn.Module.to(model, stored_dtype(spec) or model.dtype)
        model.save_pretrained(partial)
        load_tokenizer(spec).save_pretrained(partial)
        reloaded = load_model(
            ModelSpec(str(partial), spec.dtype, spec.device, spec.trust_remote_code)
        )
        logit_difference = _difference(_logits(reloaded, ids_BT), wanted)
        cache_difference = _difference(_cached_logits(reloaded, ids_BT), wanted)
        limit = _TOLERANCE.get(reloaded.dtype, 0.05)
        if not max(logit_difference, cache_difference) <= limit:
            raise ModelError(
                f"model type {model.config.model_type}: the exported checkpoint does not agree "
                f"with the measured model (logits {logit_difference:.1e}, cached decoding "
                f"{cache_difference:.1e}, allowed {limit:.0e}); nothing was written"
            )
        zeroed = [half.name for half in halves]
        record_ = {"removed_layers": list(layers), "zeroed": zeroed, **(provenance or {})}
        (partial / "layershap.json").write_text(json.dumps(record_, indent=2) + "\n", "utf-8")
        if destination.exists():
            destination.rmdir()
        partial.rename(destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    size = sum(f.stat().st_size for f in destination.glob("*.safetensors"))
    return Export(
        destination,
        layers,
        tuple(zeroed),
        before,
        reloaded.num_parameters(),
        size,
        logit_difference,
        cache_difference,
    )


@torch.inference_mode()
def _masked_logits(model: Any, roster: Roster, removed: Sequence[int], ids_BT: Tensor) -> Tensor:
    stack, steps = find_stack(model), Steps(roster, None)
    trace = record(model, stack, ids_BT)
    node = Node(trace.inputs[:1])
    for slot in roster.slots:
        if slot.player not in set(removed):
            for unit in slot.units:
                node = steps.run(unit, trace.calls, node)
    with injected(model, stack, trace.returns) as logits:
        return logits(ids_BT, node.state[0])


@torch.inference_mode()
def _logits(model: Any, ids_BT: Tensor) -> Tensor:
    return model(input_ids=ids_BT, use_cache=False).logits


@torch.inference_mode()
def _cached_logits(model: Any, ids_BT: Tensor) -> Tensor:
    """The same logits, the second half decoded a token at a time from the cache of the first."""
    half = ids_BT.shape[1] // 2
    out = model(input_ids=ids_BT[:, :half], use_cache=True)
    parts = [out.logits]
    for position in range(half, ids_BT.shape[1]):
        out = model(
            input_ids=ids_BT[:, position : position + 1],
            past_key_values=out.past_key_values,
            use_cache=True,
        )
        parts.append(out.logits)
    return torch.cat(parts, dim=1)


def _difference(found: Tensor, wanted: Tensor) -> float:
    scale = wanted.float().abs().max().clamp_min(1.0)
    return float((found.float() - wanted.float()).abs().max() / scale)
