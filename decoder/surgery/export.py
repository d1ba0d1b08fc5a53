"""Writing the smaller model as a stock checkpoint, believed only after a comparison."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from decoder.checkpoint.saving import (
    Unwritable,
    beside,
    narrow,
    refuse_small,
    refuse_taken,
    save,
    settle,
)
from decoder.errors import ModelError
from decoder.model.loading import ModelSpec, first_line, load_model, load_tokenizer, stored_dtype
from decoder.model.structure import find_stack
from decoder.players import Roster, make_roster
from decoder.surgery.check import (
    Agreement,
    allowed,
    cached_difference,
    compare,
    difference,
    logits,
    masked_logits,
)
from decoder.surgery.delete import zero_halves
from decoder.surgery.repack import Packing, plan_packing, repack, repacked_halves, zeroed_halves

__all__ = ["Export", "export_checkpoint"]


@dataclass(frozen=True)
class Export:
    """What was written and how well it agrees.

    Attributes:
        path: the checkpoint directory.
        removed: layers that are gone with both their halves, numbered as in the original.
        repacked: new layers made of the attention of one layer and the MLP of a later one.
        gone: halves that are really gone since what remained of their layers was repacked.
        zeroed: halves of layers whose weights are zero, "L4.attn" say: right in every stock
            loader, but neither smaller nor faster.
        note: why halves are zeroed that might have been repacked; None where none are.
        layers_before, layers_after: decoder layers.
        parameters_before, parameters_after: counts.
        bytes_written: size of the weights on disk.
        agreement: what the checks found.
    """

    path: Path
    removed: tuple[int, ...]
    repacked: tuple[tuple[int, int], ...]
    gone: tuple[str, ...]
    zeroed: tuple[str, ...]
    note: str | None
    layers_before: int
    layers_after: int
    parameters_before: int
    parameters_after: int
    bytes_written: int
    agreement: Agreement


def export_checkpoint(
    spec: ModelSpec,
    removed: Sequence[int],
    destination: Path,
    tokens: Int[np.ndarray, "S T"],
    *,
    roster: Roster | None = None,
    provenance: Mapping[str, Any] | None = None,
    card: Callable[[Mapping[str, Any]], str] | None = None,
) -> Export:
    """Leave players out, save, load again with stock transformers and compare.

    A layer that goes wholly is deleted. Of a half that goes alone the weights become zero, unless
    what is next to it makes an ordinary layer with the other half (see `decoder.surgery.repack`).

    Args:
        spec: the model to take layers from.
        removed: players to leave out.
        destination: directory to make; must not hold anything yet.
        tokens: sequences to compare on; the first 64 tokens of two are used.
        roster: who the players are; every layer when omitted.
        provenance: what to write into `layershap.json` beside the weights, with what was done.
        card: makes the text of `README.md` from all that `layershap.json` says.

    Raises:
        ModelError: the destination is taken or too small, or the written checkpoint does not agree.
            Nothing is left of it then.
    """
    refuse_taken(destination)
    model: Any = load_model(spec)
    ids_BT = torch.from_numpy(tokens[:2, :64]).to(model.device)
    before, depth, kind = model.num_parameters(), len(find_stack(model)), model.config.model_type
    roster = roster or make_roster("layers", depth)
    plans = _plans(model, roster, removed, ids_BT)
    wanted_BTV = masked_logits(model, roster, removed, ids_BT)
    with beside(destination) as room:
        checkpoint = room / "checkpoint"
        for number, packing in enumerate(plans, 1):
            model = model or load_model(spec)
            _shrink(model, spec, packing, ids_BT)
            refuse_small(destination, model)
            save(model, checkpoint, destination)
            load_tokenizer(spec).save_pretrained(checkpoint)
            model = None  # makes room for what is loaded now
            try:
                agreement, after = _check(spec, checkpoint, room / "again", wanted_BTV, ids_BT)
            except _Disagrees as found:
                if number < len(plans):
                    shutil.rmtree(checkpoint)
                    continue
                own = _own_difference(load_model(spec), ids_BT)
                raise ModelError(
                    f"model type {kind}: the exported checkpoint does not agree with the "
                    f"measured model ({found}{own}); nothing was written"
                ) from None
            blocks = packing.blocks
            done = Export(
                path=destination,
                removed=roster.removed_layers(removed),
                repacked=tuple((b.attention_layer, b.mlp_layer) for b in blocks if b.mixed),
                gone=tuple(half.name for half in repacked_halves(blocks)),
                zeroed=tuple(half.name for half in zeroed_halves(blocks)),
                note=packing.note,
                layers_before=depth,
                layers_after=len(blocks),
                parameters_before=before,
                parameters_after=after,
                bytes_written=sum(f.stat().st_size for f in checkpoint.glob("*.safetensors")),
                agreement=agreement,
            )
            facts = {**_facts(done, packing, spec, ids_BT), **(provenance or {})}
            (checkpoint / "layershap.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
            if card is not None:
                (checkpoint / "README.md").write_text(card(facts), "utf-8")
            settle(checkpoint, destination)
            return done
    raise AssertionError("a plan either agrees or is refused")


class _Disagrees(Exception):
    """The written checkpoint is not the model that was measured."""


def _plans(
    model: Any, roster: Roster, removed: Sequence[int], ids_BT: Tensor
) -> tuple[Packing, ...]:
    """What to try: halves of different layers in one, and if that fails, none."""
    best = plan_packing(model, roster, removed, ids_BT)
    if not any(block.mixed for block in best.blocks):
        return (best,)
    plain = plan_packing(model, roster, removed, ids_BT, mix=False)
    return best, replace(plain, note="layers of mixed halves did not agree in stock transformers")


def _shrink(model: Any, spec: ModelSpec, packing: Packing, ids_BT: Tensor) -> None:
    """Make the model the smaller one, for good, in the type that it is stored in."""
    zero_halves(model, zeroed_halves(packing.blocks), ids_BT)
    repack(model, packing)
    _narrow(model, spec)


def _narrow(model: Any, spec: ModelSpec) -> None:
    if spec.dtype == "auto":
        # Measured in float32 on a CPU, but a half-precision checkpoint stays one.
        narrow(model, stored_dtype(spec) or model.dtype)


def _check(
    spec: ModelSpec, path: Path, again: Path, wanted_BTV: Tensor, ids_BT: Tensor
) -> tuple[Agreement, int]:
    """How a checkpoint agrees, and its number of parameters.

    Raises:
        _Disagrees: it does not.
    """

    def load(where: Path) -> Any:
        return load_model(ModelSpec(str(where), spec.dtype, spec.device, spec.trust_remote_code))

    try:
        model = load(path)
        first = logits(model, ids_BT)
        agreement, size = compare(model, first, wanted_BTV, ids_BT), model.num_parameters()
        _narrow(model, spec)
        save(model, again, path)
        del model
        agreement = replace(agreement, saved_again=difference(logits(load(again), ids_BT), first))
        shutil.rmtree(again)
    except Unwritable:
        raise
    except Exception as error:  # whatever stock code raises over a model that it cannot run
        reason = first_line(error).replace(f"model {path}: ", "").partition(";")[0]
        raise _Disagrees(f"stock transformers cannot load and run it: {reason}") from None
    if not agreement.holds:
        raise _Disagrees(str(agreement))
    return agreement, size


def _own_difference(model: Any, ids_BT: Tensor) -> str:
    """What to add about a model that does not decode with a cache as it does without."""
    try:
        own = cached_difference(model, logits(model, ids_BT), ids_BT) or 0.0
    except Exception:  # whatever stock code raises; then there is nothing to add
        return ""
    if own <= allowed(model):
        return ""
    return f"; the whole model's own cached decoding is off by {own:.1e} in this transformers"


def _facts(done: Export, packing: Packing, spec: ModelSpec, ids_BT: Tensor) -> dict[str, Any]:
    """What `layershap.json` says of the checkpoint itself."""
    return {
        "format": 1,
        "base_model": spec.name,
        "revision": spec.revision,
        "removed_layers": list(done.removed),
        "repacked": [list(pair) for pair in done.repacked],
        "gone": list(done.gone),
        "zeroed": list(done.zeroed),
        "note": done.note,
        "layers": [{"attention": block.attention, "mlp": block.mlp} for block in packing.blocks],
        "layers_before": done.layers_before,
        "layers_after": done.layers_after,
        "parameters_before": done.parameters_before,
        "parameters_after": done.parameters_after,
        "checks": {
            **asdict(done.agreement),
            "sequences": len(ids_BT),
            "tokens": ids_BT.shape[1],
            "device": ids_BT.device.type,
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "safetensors")},
        },
    }
