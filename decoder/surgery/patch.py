"""The new values that a patch gives to parameters: what they are told by, stored and set.

A patch is data, its values are tensors: `decoder.surgery.edit.Patch` names the parameters and the
digest of their values, a safetensors file or a mapping holds them. Where a value is given to the
output embedding of a model that ties it to the input embedding, the two are untied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from decoder.surgery.edit import Edit, EditError, Patch
from decoder.surgery.weights import changed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Patches", "digest_of", "make_patch", "patched", "read_patches", "write_patches"]

Patches = Mapping[str, Tensor]
"""New values by the name that their parameter has in the original model."""


def digest_of(patches: Patches) -> str:
    """Tell values apart by their names, types, shapes and bytes, the same in every process.

    Args:
        patches: the values.

    Returns:
        32 hexadecimal digits.
    """
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(patches):
        value = patches[name].detach().cpu().contiguous()
        found.update(f"{name}\0{value.dtype}\0{list(value.shape)}\0".encode())
        found.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def make_patch(patches: Patches) -> Patch:
    """Make the edit that stands for values.

    Args:
        patches: the values; at least one.
    """
    return Patch(tuple(sorted(patches)), digest_of(patches))


def write_patches(path: Path, patches: Patches) -> None:
    """Store values in a safetensors file.

    Args:
        path: the file to write.
        patches: the values.
    """
    from safetensors.torch import save_file

    save_file({name: value.detach().cpu().contiguous() for name, value in patches.items()}, path)


def read_patches(path: Path) -> dict[str, Tensor]:
    """Read what `write_patches` stored.

    Args:
        path: the file.

    Raises:
        EditError: there is none, or it is not one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "no safetensors file"
        raise EditError(f"patches {path}: cannot be read ({reason}); repair again") from None


@contextmanager
def patched(
    model: PreTrainedModel, edits: Iterable[Edit], patches: Patches | None
) -> Iterator[None]:
    """Within this context parameters have the values of the patch among edits, if there is one.

    Afterwards they are bit for bit as before. Values are cast to the type of their parameter.

    Args:
        model: the original.
        edits: those with a patch set its values, others set nothing.
        patches: the values that the patch names.

    Raises:
        EditError: the values are missing or others, or do not fit the model's parameters.
    """
    patch = next((edit for edit in edits if isinstance(edit, Patch)), None)
    if patch is None:
        yield
        return
    values = _checked(model, patch, patches)
    with (
        _untied(model, values),
        changed(
            (parameter, partial(_like, values[name], parameter))
            for name, parameter in model.named_parameters(remove_duplicate=False)
            if name in values
        ),
    ):
        yield


def _checked(model: PreTrainedModel, patch: Patch, patches: Patches | None) -> dict[str, Tensor]:
    if patches is None or not set(patch.parameters) <= set(patches):
        missing = next(n for n in patch.parameters if patches is None or n not in patches)
        raise EditError(f"patch: the values of {missing} are not given; name the patch's own file")
    values = {name: patches[name] for name in patch.parameters}
    if digest_of(values) != patch.digest:
        raise EditError("patch: the values given are others than it names; name its own file")
    own = dict(model.named_parameters(remove_duplicate=False))
    for name, value in values.items():
        shape = tuple(own[name].shape) if name in own else None
        if shape != tuple(value.shape):
            there = "there is no such parameter" if shape is None else f"it is {list(shape)}"
            raise EditError(
                f"patch: {name} has values of {list(value.shape)}, {there}; repair this model again"
            )
        if not own[name].is_floating_point():
            raise EditError(f"patch: {name} is quantised; load the model unquantised")
    return values


def _like(value: Tensor, parameter: nn.Parameter) -> Tensor:
    return value.to(parameter)


def _untied(model: PreTrainedModel, values: Mapping[str, Tensor]) -> Any:
    """Give the output embedding a parameter of its own where the patch has a value for it."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is not embedding.weight:
        return nullcontext()
    named = {id(module): name for name, module in model.named_modules(remove_duplicate=False)}
    if f"{named[id(head)]}.weight" not in values:
        return nullcontext()
    return _own_head(model, head)


@contextmanager
def _own_head(model: PreTrainedModel, head: Any) -> Iterator[None]:
    tied, config = head.weight, model.config
    text = config.get_text_config(decoder=True)
    before = [(one, one.tie_word_embeddings) for one in (config, text)]
    keys = model.all_tied_weights_keys
    try:
        head.weight = nn.Parameter(tied.detach().clone(), requires_grad=False)
        model.all_tied_weights_keys = {}
        for one, _ in before:
            one.tie_word_embeddings = False
        yield
    finally:
        head.weight = tied
        model.all_tied_weights_keys = keys
        for one, value in before:
            one.tie_word_embeddings = value
