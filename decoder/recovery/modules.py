"""Matrices at the cuts of a smaller model: in memory for a context, or beside a checkpoint.

No stock weight holds them, so they act as hooks on whole layers: what arrives before a layer, or
what leaves the last one, is multiplied. Beside a stock checkpoint they lie in a safetensors file;
without them that checkpoint is the model that was only deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from decoder.model.loading import ModelSpec, load_model
from decoder.model.structure import find_stack
from decoder.surgery.apply import applied
from decoder.surgery.edit import EditError, Edits, Remove
from decoder.surgery.patch import read_patches, write_patches

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decoder.recovery.repair import Repair

__all__ = ["MATRICES", "attached_matrices", "load_with_matrices", "repaired", "write_matrices"]

MATRICES = "layershap_matrices.safetensors"
"""Name of the file beside a checkpoint."""

_BEFORE = "before_layer."


@contextmanager
def repaired(model: PreTrainedModel, repair: Repair) -> Iterator[None]:
    """Make the model the repaired smaller one within this context, its matrices at cuts too.

    Args:
        model: the original.
        repair: what was fitted to it.

    Raises:
        EditError: the repair is another model's.
    """
    with applied(model, repair.edits, patches=repair.patches):
        layers = find_stack(model).layers if repair.modules else ()
        handles = _hooks(list(layers), attached_matrices(repair.edits, repair.modules))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def attached_matrices(edits: Edits, modules: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Tell before which layer of the smaller model each matrix stands.

    Args:
        edits: what makes the smaller model.
        modules: matrices [D, D] by the position of their cut's end in the original.

    Returns:
        By layer of the smaller model; by their number where it stands after the last one.
    """
    # Methods that make matrices admit cuts between whole layers alone.
    gone = [edit.layer for edit in edits if isinstance(edit, Remove)]
    ends = {position // 2: matrix for position, matrix in modules.items()}
    return {end - sum(layer < end for layer in gone): matrix for end, matrix in ends.items()}


def write_matrices(checkpoint: Path, matrices: Mapping[int, Tensor]) -> None:
    """Store matrices beside a stock checkpoint.

    Args:
        checkpoint: its directory.
        matrices: [D, D], by the layer that each stands before.
    """
    named = {f"{_BEFORE}{layer}": matrix for layer, matrix in matrices.items()}
    write_patches(checkpoint / MATRICES, named)


def load_with_matrices(spec: ModelSpec) -> PreTrainedModel:
    """Load a checkpoint with the matrices that lie beside it, if any do.

    Args:
        spec: the checkpoint; its name is a directory or, without matrices, a hub id.

    Raises:
        ModelError: it cannot be loaded.
        EditError: the matrices are damaged, or another model's.
    """
    model, path = load_model(spec), Path(spec.name) / MATRICES
    if not path.exists():
        return model
    stack = list(find_stack(model).layers)
    named = read_patches(path)
    places = {f"{_BEFORE}{place}": place for place in range(len(stack) + 1)}
    for name, matrix in named.items():
        if name not in places or matrix.ndim != 2 or len({*matrix.shape}) != 1:
            raise EditError(f"{path}: {name} is no matrix before one of {len(stack)} layers")
    _hooks(stack, {places[name]: matrix.to(model.device) for name, matrix in named.items()})
    return model


def _hooks(layers: Sequence[nn.Module], matrices: Mapping[int, Tensor]) -> list[Any]:
    handles = []
    for place, matrix in matrices.items():
        if place < len(layers):
            hook = _before(matrix)
            handles.append(layers[place].register_forward_pre_hook(hook, with_kwargs=True))
        else:
            handles.append(layers[-1].register_forward_hook(_after(matrix)))
    return handles


def _before(matrix: Tensor) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (args[0] @ matrix.to(args[0]), *args[1:]), kwargs
        hidden = kwargs["hidden_states"]
        return args, {**kwargs, "hidden_states": hidden @ matrix.to(hidden)}

    return hook


def _after(matrix: Tensor) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, Tensor):
            return output @ matrix.to(output)
        return (output[0] @ matrix.to(output[0]), *output[1:])

    return hook
