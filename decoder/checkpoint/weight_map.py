"""Which stored tensors make which weights of a model, by transformers' own rules.

Checkpoints may name weights otherwise than the model does, or keep every expert apart where the
model holds them merged. Transformers knows these rules; they are asked here, so that one layer can
be read without the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from decoder.checkpoint.shards import StoredTensor
from decoder.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Recipe", "convert", "plan_weights", "read_tensor"]

_CHUNK_BYTES = 2**22


@dataclass(frozen=True)
class Recipe:
    """The stored tensors that make one weight, or several that are made together.

    Attributes:
        target: the weight's name in the model; the first one where several are made.
        sources: stored tensors, in the order of their numbers.
        patterns: which of the converter's patterns each source fits.
        converter: transformers' rule that merges, splits or turns them; None where a weight is
            stored as it is, under this name or another.
    """

    target: str
    sources: tuple[StoredTensor, ...]
    patterns: tuple[str, ...] = ()
    converter: Any = None

    @property
    def pieces(self) -> list[list[int]]:
        """Sources that can be converted apart from the others: row k of the weight is of piece k.

        One piece with all of them unless the rule stacks its sources, as that of experts does.
        """
        everything = [list(range(len(self.sources)))]
        if not _stacks(self.converter):
            return everything
        columns = [
            [i for i, fitting in enumerate(self.patterns) if fitting == pattern]
            for pattern in dict.fromkeys(self.patterns)
        ]
        even = len({len(column) for column in columns}) == 1
        return [list(row) for row in zip(*columns, strict=True)] if even else everything


def plan_weights(model: PreTrainedModel, stored: Mapping[str, StoredTensor]) -> list[Recipe]:
    """Which stored tensors make which of the model's weights; those it has no use for are left out.

    Args:
        model: the model; the meta device is enough.
        stored: the checkpoint's tensors by name.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    weights = model.state_dict()
    prefix = model.base_model_prefix
    of_pattern = {pattern: entry for entry in converters for pattern in entry.source_patterns}
    found: dict[str, list[tuple[StoredTensor, str | None]]] = {}
    for name in sorted(stored, key=dot_natural_key):
        target, pattern = rename_source_key(name, renamings, converters, prefix, weights)
        if target not in weights and name in weights:
            target, pattern = rename_source_key(name, [], [], prefix, weights)
        if target in weights:
            found.setdefault(target, []).append((stored[name], pattern))
    return [
        Recipe(
            target,
            tuple(source for source, _ in parts),
            tuple(pattern or "" for _, pattern in parts),
            of_pattern.get(parts[0][1] or ""),
        )
        for target, parts in found.items()
    ]


def convert(
    model: PreTrainedModel, recipe: Recipe, dtype: torch.dtype, scratch: Tensor | None = None
) -> Iterator[tuple[str, int | None, Tensor]]:
    """The weights of a recipe with a converter, a piece at a time so that few are in memory.

    Args:
        model: the model whose weights these are.
        recipe: what to make.
        dtype: in which type.
        scratch: see `read_tensor`.

    Yields:
        Name of the weight, its row (None: all of it), and the numbers, on the CPU.

    Raises:
        ModelError: the stored tensors do not fit the rule, or cannot be read.
    """
    pieces = recipe.pieces
    for row, piece in enumerate(pieces):
        converter = deepcopy(recipe.converter)
        for i in piece:
            source = recipe.sources[i]
            tensor = torch.empty(source.shape, dtype=dtype, device="cpu")
            read_tensor(source, tensor, scratch)
            converter.add_tensor(recipe.target, source.name, recipe.patterns[i], _Given(tensor))
            del tensor
        try:
            made = converter.convert(recipe.target, model=model, config=model.config)
        except (RuntimeError, ValueError, IndexError, KeyError, AttributeError):
            raise ModelError(
                f"model type {model.config.model_type}: {recipe.target} cannot be made of what is "
                "stored; save or download the checkpoint again"
            ) from None
        for name, values in made.items():
            value = values[0] if isinstance(values, list) else values
            yield name, (row if len(pieces) > 1 else None), value[0] if len(pieces) > 1 else value


def read_tensor(source: StoredTensor, target: Tensor, scratch: Tensor | None = None) -> None:
    """Read a stored tensor into `target` (contiguous, on the CPU), converting its type.

    Args:
        source: what to read.
        target: as many numbers, in any shape and type.
        scratch: bytes to convert through; needed where the types differ.

    Raises:
        ModelError: the file ends early.
    """
    flat = target.view(-1)
    if source.dtype == target.dtype:
        for _ in source.chunks(_bytes_of(flat)):
            pass
        return
    if scratch is None:
        scratch = torch.empty(min(_CHUNK_BYTES, max(source.nbytes, 8)), dtype=torch.uint8)
    done = 0
    for chunk in source.chunks(_bytes_of(scratch)):
        values = scratch[: len(chunk)].view(source.dtype)
        flat[done : done + len(values)].copy_(values)
        done += len(values)


def _bytes_of(flat: Tensor) -> memoryview:
    array: Any = flat.view(torch.uint8).numpy()
    return memoryview(array) if flat.numel() else memoryview(b"")


class _Given:
    """A tensor that is handed over once: the rule that takes it is its only owner."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor: Tensor | None = tensor

    def __call__(self) -> Tensor | None:
        tensor, self._tensor = self._tensor, None
        return tensor


def _stacks(converter: Any) -> bool:
    """Whether the rule stacks its sources along a new first axis and leaves that axis alone."""
    from transformers.core_model_loading import Concatenate, MergeModulelist

    if converter is None:
        return False
    first, *rest = converter.operations
    return (
        isinstance(first, MergeModulelist)
        and first.dim == 0
        and all(isinstance(operation, Concatenate) and operation.dim > 0 for operation in rest)
        and len(converter.target_patterns) == 1
    )
