"""Matrices at the cuts of a smaller model in memory, for as long as a context lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from decoder.model.structure import find_stack
from decoder.recovery.fitting.path import find_path
from decoder.surgery.apply import applied
from decoder.surgery.edit import Edits, Patch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from decoder.recovery.repair import Repair

__all__ = ["repaired"]


@contextmanager
def repaired(model: PreTrainedModel, repair: Repair) -> Iterator[None]:
    """Make the model the repaired smaller one within this context, its matrices at cuts too.

    Args:
        model: the original.
        repair: what was fitted to it.

    Raises:
        EditError: the repair is another model's.
    """
    layers = list(find_stack(model).layers)
    with applied(model, repair.edits, patches=repair.patches):
        handles = _hooks(layers, repair.edits, repair.modules)
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _hooks(layers: list[nn.Module], edits: Edits, modules: Mapping[int, Tensor]) -> list[Any]:
    path = find_path([edit for edit in edits if not isinstance(edit, Patch)], len(layers))
    handles = []
    for position, matrix in modules.items():
        if position < path.end:
            layer = layers[position // 2]
            handles.append(layer.register_forward_pre_hook(_before(matrix), with_kwargs=True))
        else:
            last = layers[path.halves[-1] // 2]
            handles.append(last.register_forward_hook(_after(matrix)))
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
