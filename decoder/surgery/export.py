"""Writing the smaller model as a stock checkpoint, believed only after a comparison."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from decoder.checkpoint.companions import copy_companions
from decoder.checkpoint.inspect import skeleton
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
from decoder.model.loading import (
    ModelSpec,
    first_line,
    load_model,
    load_tokenizer,
    stored_dtype,
)
from decoder.model.structure import find_stack
from decoder.surgery.apply import applied, check_described
from decoder.surgery.blocks import (
    Block,
    blocks_of,
    remaining_units,
    repacked_halves,
    zeroed_halves,
)
from decoder.surgery.check import (
    Agreement,
    allowed,
    cached_difference,
    compare,
    difference,
    generated_difference,
    logits,
    masked_logits,
)
from decoder.surgery.edit import (
    Edit,
    Edits,
    Merge,
    Remove,
    Repack,
    ZeroHalf,
    canonical,
    edits_to_json,
    fingerprint,
)
from decoder.surgery.merge import merged_weights
from decoder.surgery.patch import Patches, patched
from decoder.surgery.probe import probe_tokens

__all__ = ["Export", "write"]


@dataclass(frozen=True)
class Export:
    """What was written and how well it agrees.

    Attributes:
        path: the checkpoint directory.
        edits: what was done to the original, in canonical order.
        removed: layers that are gone with both their halves, numbered as in the original.
        merged: (layer that stays, layers merged into it), in order.
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
    edits: Edits
    removed: tuple[int, ...]
    merged: tuple[tuple[int, tuple[int, ...]], ...]
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


def write(
    spec: ModelSpec,
    edits: Iterable[Edit],
    to: Path,
    tokens: Int[np.ndarray, "S T"] | None = None,
    *,
    patches: Patches | None = None,
    note: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    card: Callable[[Mapping[str, Any]], str] | None = None,
) -> Export:
    """Make the smaller model, save it, load it again with stock transformers and compare.

    Where layers made of two halves do not agree in stock transformers, the halves that would have
    gone are made zero instead, and `Export.note` says so.

    Args:
        spec: the original.
        edits: what to do to it.
        to: directory to make; must not hold anything yet.
        tokens: sequences to compare on; the first 64 tokens of two are used. Random ones when
            omitted.
        patches: the values of the patch among the edits, if there is one.
        note: why halves are zeroed that might have been repacked, where that is known.
        provenance: what to write into `layershap.json` beside the weights, with what was done.
        card: makes the text of `README.md` from all that `layershap.json` says.

    Raises:
        EditError: the edits contradict each other or do not fit the model, or the values of the
            patch are not those that it names.
        UnsupportedModel: its layers cannot be merged, or its halves not be told or repacked.
        ModelError: the destination is taken or too small, or the written checkpoint does not agree.
            Nothing is left of it then.
    """
    refuse_taken(to)
    edits = canonical(edits)
    check_described(skeleton(spec), edits)  # before the weights are read
    model: Any = load_model(spec)
    before, depth, kind = model.num_parameters(), len(find_stack(model)), model.config.model_type
    ids_BT = probe_tokens(model, 2) if tokens is None else torch.from_numpy(tokens[:2, :64])
    ids_BT = ids_BT.to(model.device)
    merges = [edit for edit in edits if isinstance(edit, Merge)]
    with merged_weights(model, merges), patched(model, edits, patches):
        wanted_BTV = masked_logits(model, remaining_units(blocks_of(edits, depth)), ids_BT)
    plain = _unpacked(edits)
    plans = [(edits, note)]
    if plain != edits:
        plans.append((plain, "layers of mixed halves did not agree in stock transformers"))
    with beside(to) as room:
        checkpoint = room / "checkpoint"
        for plan, why in plans:
            model = model or load_model(spec)
            try:
                with applied(model, plan, patches=patches):
                    _narrow_as_stored(model, spec)
                    refuse_small(to, model)
                    _save(model, checkpoint, to)
                load_tokenizer(spec).save_pretrained(checkpoint)
                copy_companions(spec, checkpoint)
                model = None  # makes room for what is loaded now
                agreement, after = _check(spec, checkpoint, room / "again", wanted_BTV, ids_BT)
            except _Disagrees as found:
                model = None
                if plan != plain:
                    shutil.rmtree(checkpoint, ignore_errors=True)
                    continue
                own = _own_difference(load_model(spec), ids_BT)
                raise ModelError(
                    f"model type {kind}: the exported checkpoint does not agree with the "
                    f"measured model ({found}{own}); nothing was written"
                ) from None
            blocks = blocks_of(plan, depth)
            done = Export(
                path=to,
                edits=plan,
                removed=tuple(edit.layer for edit in plan if isinstance(edit, Remove)),
                merged=tuple((merge.into, merge.layers) for merge in merges),
                repacked=tuple((b.attention_layer, b.mlp_layer) for b in blocks if b.mixed),
                gone=tuple(half.name for half in repacked_halves(blocks)),
                zeroed=tuple(half.name for half in zeroed_halves(blocks)),
                note=why,
                layers_before=depth,
                layers_after=len(blocks),
                parameters_before=before,
                parameters_after=after,
                bytes_written=sum(f.stat().st_size for f in checkpoint.glob("*.safetensors")),
                agreement=agreement,
            )
            facts = {**_facts(done, blocks, spec, ids_BT), **(provenance or {})}
            (checkpoint / "layershap.json").write_text(json.dumps(facts, indent=2) + "\n", "utf-8")
            if card is not None:
                (checkpoint / "README.md").write_text(card(facts), "utf-8")
            settle(checkpoint, to)
            return done
    raise AssertionError("a plan either agrees or is refused")


class _Disagrees(Exception):
    """The written checkpoint is not the model that was measured."""


def _unpacked(edits: Iterable[Edit]) -> Edits:
    """The same model with every half in its own layer, where the other half is zero."""
    found: list[Edit] = []
    for edit in edits:
        if isinstance(edit, Repack):
            found += [ZeroHalf(edit.attention, "mlp"), ZeroHalf(edit.mlp, "attention")]
        else:
            found.append(edit)
    return canonical(found)


def _narrow_as_stored(model: Any, spec: ModelSpec) -> None:
    if spec.dtype == "auto":
        # Measured in float32 on a CPU, but a half-precision checkpoint stays one.
        narrow(model, stored_dtype(spec) or model.dtype)


def _save(model: Any, checkpoint: Path, to: Path) -> None:
    """Write the checkpoint.

    Raises:
        _Disagrees: stock code refuses to.
    """
    try:
        save(model, checkpoint, to)
    except (ModelError, OSError):
        raise
    except Exception as error:  # a configuration's own checks, say
        raise _Disagrees(f"stock transformers cannot save it: {first_line(error)}") from None


def _check(
    spec: ModelSpec, path: Path, again: Path, wanted_BTV: Tensor, ids_BT: Tensor
) -> tuple[Agreement, int]:
    """How a checkpoint agrees, and its number of parameters.

    Raises:
        _Disagrees: it does not.
    """

    def load(where: Path) -> Any:
        return load_model(replace(spec, name=str(where), revision=None), strict=True)

    try:
        model = load(path)
        first = logits(model, ids_BT)
        agreement, size = compare(model, first, wanted_BTV, ids_BT), model.num_parameters()
        _narrow_as_stored(model, spec)
        save(model, again, path)
        del model
        agreement = replace(agreement, saved_again=difference(logits(load(again), ids_BT), first))
        shutil.rmtree(again)
    except Unwritable:
        raise
    except Exception as error:  # whatever stock code raises over a model that it cannot run
        reason = first_line(error).replace(f"model {path}: ", "").partition(";")[0]
        raise _Disagrees(f"stock transformers cannot load and run it: {reason}") from None
    if agreement.holds_but_in_generation and not agreement.holds:
        # No fault of the smaller model where `generate` contradicts the original's forward too.
        model = load_model(spec)
        if generated_difference(model, ids_BT) > agreement.allowed:
            return agreement, size
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


def _facts(
    done: Export, blocks: Sequence[Block], spec: ModelSpec, ids_BT: Tensor
) -> dict[str, Any]:
    """What `layershap.json` says of the checkpoint itself."""
    return {
        "format": 1,
        "edits": edits_to_json(done.edits),
        "edits_fingerprint": fingerprint(done.edits),
        "base_model": spec.name,
        "revision": spec.revision,
        "removed_layers": list(done.removed),
        "merged": [[into, list(layers)] for into, layers in done.merged],
        "repacked": [list(pair) for pair in done.repacked],
        "gone": list(done.gone),
        "zeroed": list(done.zeroed),
        "note": done.note,
        "layers": [{"attention": block.attention, "mlp": block.mlp} for block in blocks],
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
