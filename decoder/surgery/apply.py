"""The smaller model that edits make of one in memory, for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

from decoder.errors import UnsupportedModel
from decoder.model.halves import HalfOwnership
from decoder.model.structure import find_stack
from decoder.surgery.blocks import blocks_of, zeroed_halves
from decoder.surgery.delete import assembled, half_weights
from decoder.surgery.edit import Edit, Merge, Repack, canonical, check_edits
from decoder.surgery.merge import merged_weights
from decoder.surgery.patch import Patches, patched
from decoder.surgery.repack import check_fits, find_owners, packed_layers
from decoder.surgery.settings import fit_settings
from decoder.surgery.weights import changed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["applied", "check_described", "owners_for"]


def owners_for(model: PreTrainedModel, edits: Iterable[Edit]) -> dict[int, HalfOwnership]:
    """Find out once what `applied` asks of layers that are repacked, each time it is entered.

    Args:
        model: the original.
        edits: all edits that will be made, of several smaller models say.

    Raises:
        UnsupportedModel: the halves cannot be told.
    """
    repacked = [edit for edit in edits if isinstance(edit, Repack)]
    return find_owners(model, {layer for e in repacked for layer in (e.attention, e.mlp)})


def check_described(model: PreTrainedModel, edits: Iterable[Edit]) -> None:
    """Refuse a smaller model that no configuration describes, without touching a weight.

    Repacked layers are not looked at: what they are made of is found with weights.

    Args:
        model: the original, with weights or without.
        edits: what is to be done to it.

    Raises:
        EditError: the edits do not fit the model's depth.
        UnsupportedModel: no configuration makes the layers that remain.
    """
    edits, stack = canonical(edits), find_stack(model)
    check_edits(edits, len(stack))
    blocks = blocks_of(edits, len(stack))
    if len(blocks) == len(stack) or any(block.mixed for block in blocks):
        return
    kept = [block.attention_layer for block in blocks]
    fit = fit_settings(model, [stack.layers[i] for i in kept], kept)
    if fit.trouble is not None:
        raise UnsupportedModel(
            f"model type {model.config.model_type}: no configuration describes it with layers "
            f"{', '.join(map(str, kept))} alone ({fit.trouble}); nothing was written"
        )


@contextmanager
def applied(
    model: PreTrainedModel,
    edits: Iterable[Edit],
    *,
    owners: Mapping[int, HalfOwnership] | None = None,
    patches: Patches | None = None,
) -> Iterator[None]:
    """Make the model the smaller one within this context; afterwards it is bit for bit as before.

    Its configuration and layer numbers are the smaller model's meanwhile. Merges come first; what
    remains shares its weights with the original wherever they are the same.

    Args:
        model: the original.
        edits: what to do to it.
        owners: what `owners_for` found, so that it is not found again.
        patches: the values of the patch among the edits, if there is one.

    Raises:
        EditError: the edits contradict each other or do not fit the model's depth, or the values
            of the patch are not those that it names.
        UnsupportedModel: its layers cannot be merged, or its halves not be told or repacked.
    """
    edits = canonical(edits)
    if not edits:
        yield
        return
    stack = find_stack(model)
    check_edits(edits, len(stack))
    blocks = blocks_of(edits, len(stack))
    owners = owners_for(model, edits) if owners is None else owners
    check_fits(stack, owners, blocks)
    zero = half_weights(model, zeroed_halves(blocks))
    layers, fit = packed_layers(model, stack, blocks, owners)
    sources = [(block.attention_layer, block.mlp_layer) for block in blocks]
    merges = [edit for edit in edits if isinstance(edit, Merge)]
    with (
        merged_weights(model, merges),
        patched(model, edits, patches),
        changed((weight, partial(torch.zeros_like, weight)) for weight in zero),
        assembled(model, stack, layers, sources, fit),
    ):
        yield
