"""What layers are made of without their weights, so that a configuration can be tried out.

A smaller model can be saved if its configuration alone makes the same modules again. So the
configuration goes the way that it takes through a file, a model without weights is made of it, and
its layers are held against those that are meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from decoder.model.structure import find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "Blueprint",
    "Numbering",
    "blueprint",
    "differences",
    "numbering",
    "rebuilt",
]

Parts = Mapping[str, Any]

# What modules call their layer's place in the cache.
_INDICES = {"layer_idx", "layer_id", "layer_number"}
_NOTHING = object()


@dataclass(frozen=True)
class Blueprint:
    """The structure of a model.

    Attributes:
        layers: of each layer, its modules, the shapes of its weights and the plain values that its
            modules keep, by name.
        numbers: names of values that hold the layer's own number.
        outside: shapes of all that is stored outside the layers, by name.
        depth: layers that its configuration speaks of.
    """

    layers: tuple[Parts, ...]
    numbers: frozenset[str]
    outside: Mapping[str, tuple[int, ...]]
    depth: int


def blueprint(model: PreTrainedModel, layers: Sequence[nn.Module] | None = None) -> Blueprint:
    """Describe a model.

    Args:
        model: with weights or without.
        layers: other layers than its own, which it is to have.
    """
    stack = find_stack(model)
    numbers = frozenset(numbering(list(stack.layers)))
    inside = {id(m) for layer in stack.layers for m in layer.modules()}
    outside = {
        f"{path}.{name}".strip("."): tuple(tensor.shape)
        for path, module in model.named_modules()
        if id(module) not in inside
        for name, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None and name not in module._non_persistent_buffers_set
    }
    own = list(stack.layers) if layers is None else layers
    return Blueprint(tuple(map(_parts, own)), numbers, outside, len(stack))


def _parts(layer: nn.Module) -> Parts:
    """Describe one layer."""
    found: dict[str, Any] = {}
    for path, module in layer.named_modules():
        found[path] = type(module).__name__
        for name, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                found[f"{path}.{name}"] = tuple(tensor.shape)
        for name, value in vars(module).items():
            plain = _plain(value)
            own = name.startswith("_") or name == "training"
            if not own and plain is not _NOTHING:
                found[f"{path}.{name}"] = plain
    return found


@dataclass(frozen=True)
class Numbering:
    """How an attribute counts layers: layer i says `stride * i + start`."""

    stride: int
    start: int

    def again(self, value: int, old: Iterable[int], new: int) -> int:
        """Say the number of a layer that has moved; the same where it is no such number.

        Args:
            value: what it said.
            old: places that it may have had.
            new: its place now.
        """
        known = {self.stride * place + self.start for place in old}
        return self.stride * new + self.start if value in known else value


def numbering(layers: Sequence[nn.Module]) -> dict[str, Numbering]:
    """Find the attributes that hold a layer's number, by module and name, and how they count.

    They are those that modules are known to use, and any that counts up with the layers.

    Args:
        layers: of a whole model, in depth order.
    """
    seen: dict[str, dict[int, int]] = {}
    for index, layer in enumerate(layers):
        for path, module in layer.named_modules():
            for name, value in vars(module).items():
                if type(value) is int and not name.startswith("_"):
                    seen.setdefault(f"{path}.{name}", {})[index] = value
    found = {}
    for name, values in seen.items():
        known = name.rpartition(".")[2] in _INDICES
        first, second = [*values, None][:2]
        stride = 1
        if second is not None and known:
            stride = (values[second] - values[first]) // (second - first)
        rule = Numbering(stride, values[first] - stride * first)
        counts = stride > 0 and all(v == stride * i + rule.start for i, v in values.items())
        if counts and (known or len(values) == len(layers) > 2):
            found[name] = rule
    return found


def rebuilt(model: PreTrainedModel, settings: Mapping[str, Any]) -> PreTrainedModel:
    """Make the model that a loader would make of a configuration, without weights.

    Args:
        model: whose class and configuration it has.
        settings: values of the decoder's configuration that are other than the model's.

    Raises:
        Exception: whatever stock code raises for a configuration that it cannot take.
    """
    from transformers.initialization import meta_device_safe_creation_ops

    whole = model.config
    text = whole.get_text_config(decoder=True)
    before = {name: vars(text).get(name, _NOTHING) for name in settings}
    try:
        vars(text).update(settings)
        stored = whole.to_json_string(use_diff=True)
    finally:
        for name, value in before.items():
            if value is _NOTHING:
                vars(text).pop(name, None)
            else:
                vars(text)[name] = value
    with TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(stored, encoding="utf-8")
        config = type(whole).from_pretrained(folder)
    with torch.device("meta"), meta_device_safe_creation_ops():
        return type(model)._from_config(config)


def differences(found: Blueprint, wanted: Blueprint) -> list[str]:
    """Say in what the layers of two models differ, the first difference of each layer first.

    Args:
        found: what a configuration makes.
        wanted: what is meant.
    """
    if len(found.layers) != len(wanted.layers):
        return [f"it would have {len(found.layers)} layers and not {len(wanted.layers)}"]
    said = []
    for number, (own, meant) in enumerate(zip(found.layers, wanted.layers, strict=True)):
        for name in dict.fromkeys((*own, *meant)):
            if name in found.numbers or name in wanted.numbers:
                continue
            one, other = own.get(name, _NOTHING), meant.get(name, _NOTHING)
            sizes = tuple(len(v) if isinstance(v, tuple) else v for v in (one, other))
            if sizes == (found.depth, wanted.depth) and (
                isinstance(one, tuple) or "layers" in name
            ):
                continue  # a module's copy of what the configuration says
            if not _same(one, other):
                said.append(
                    f"layer {number}: {name or 'the layer'} {_said(one)} for {_said(other)}"
                )
    return said


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-6)
    return one == other


def _said(value: Any) -> str:
    return "nothing" if value is _NOTHING else str(value)[:60]


def _plain(value: Any) -> Any:
    """A value that can be compared; `_NOTHING` for all else."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _NOTHING if any(item is _NOTHING for item in items) else tuple(items)
    if isinstance(value, dict):
        pairs = {str(key): _plain(item) for key, item in value.items()}
        return _NOTHING if any(item is _NOTHING for item in pairs.values()) else pairs
    return _NOTHING
