"""A model larger than its device: its decoder layers' weights are brought in one layer at a time.

One buffer as large as the largest layer serves all layers: the weights of whichever layer is
resident are views into it, so walking through a model allocates nothing anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from decoder.checkpoint.conversion import finish_loading, load_weights
from decoder.checkpoint.host import free_memory, host_buffer, pin
from decoder.checkpoint.inspect import resolve_dtype, skeleton
from decoder.checkpoint.shards import WeightFiles, find_weights, stored_tensors
from decoder.checkpoint.weight_map import Recipe, convert, plan_weights, read_tensor
from decoder.errors import ModelError, UnsupportedModel
from decoder.model.loading import ModelSpec, first_line, load_config, refuse_missing
from decoder.model.structure import Stack, find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LayerStore", "Source", "load_streamed"]

Source = Literal["auto", "disk", "ram"]

_ALIGNMENT = 64
_SCRATCH_BYTES = 2**22
_RAM_SHARE = 0.8  # of what is free; the rest is for hidden states and the other processes


@dataclass(frozen=True)
class _Slot:
    """One weight of a layer: where it hangs in the model, and where it lies in the buffer."""

    name: str
    module: nn.Module
    attribute: str
    empty: Tensor
    start: int

    @property
    def nbytes(self) -> int:
        return self.empty.numel() * self.empty.element_size()

    def view(self, buffer: Tensor) -> Tensor:
        flat = buffer[self.start : self.start + self.nbytes].view(self.empty.dtype)
        return flat.view(self.empty.shape)

    def attach(self, tensor: Tensor) -> None:
        if self.attribute in self.module._parameters:
            if not isinstance(tensor, nn.Parameter):
                tensor = nn.Parameter(tensor, requires_grad=False)
            self.module._parameters[self.attribute] = tensor
        else:
            self.module._buffers[self.attribute] = tensor


@dataclass(frozen=True)
class _Layer:
    """One decoder layer: its weights and what they are made of."""

    slots: tuple[_Slot, ...]
    recipes: tuple[Recipe, ...]
    nbytes: int


class LayerStore:
    """The decoder layers' weights, brought to the device one layer at a time; see `load_streamed`.

    Attributes:
        source: "disk", or "ram" where the host's memory holds all layers.
        bytes_read: bytes of checkpoint files read for layers so far.
        loads: layers brought to the device so far.
        largest_layer_bytes: the size of the buffer that all layers share.
    """

    def __init__(
        self, model: PreTrainedModel, layers: Sequence[_Layer], device: torch.device, source: Source
    ) -> None:
        self.bytes_read = 0
        self.loads = 0
        self.largest_layer_bytes = max(layer.nbytes for layer in layers)
        self._model = model
        self._layers = layers
        self._scratch = torch.empty(_SCRATCH_BYTES, dtype=torch.uint8)
        self._buffer = torch.empty(self.largest_layer_bytes, dtype=torch.uint8, device=device)
        self._held: int | None = None
        self._open: int | None = None
        self.source = _choose(source, layers, device)
        self._pinned = False
        self._hosts: list[Tensor] = []
        if self.source == "ram":
            for layer in layers:
                host = host_buffer(layer.nbytes)
                self._fill(layer, host)
                self._hosts.append(host)
            if device.type == "cuda":
                self._pinned = all([pin(host, self) for host in self._hosts])
        elif device.type != "cpu":
            self._hosts.append(host_buffer(self.largest_layer_bytes))
        self._views = [[slot.view(self._buffer) for slot in layer.slots] for layer in layers]

    @contextmanager
    def resident(self, layer: int) -> Iterator[None]:
        """The weights of one decoder layer are on the device inside, and gone after.

        A layer that is asked for again before any other is not brought in again.

        Args:
            layer: index of the decoder layer.

        Raises:
            ModelError: the checkpoint cannot be read any more.
            ValueError: there is no such layer, or another one is resident.
        """
        if not 0 <= layer < len(self._layers):
            raise ValueError(f"layer {layer}: there are {len(self._layers)}, numbered from 0")
        if self._open is not None:
            raise ValueError(
                f"layer {layer}: layer {self._open} is resident; leave its context first"
            )
        self._open = layer
        slots, views = self._layers[layer].slots, self._views[layer]
        try:
            if self._held != layer:
                self._held = None
                with _writing():
                    self._bring(layer)
                self._held = layer
            for slot, view in zip(slots, views, strict=True):
                slot.attach(view)
            yield
        finally:
            for slot in slots:
                slot.attach(slot.empty)
            self._open = None

    def _bring(self, index: int) -> None:
        layer = self._layers[index]
        self.loads += 1
        if self.source == "ram":
            host = self._hosts[index]
            self._buffer[: layer.nbytes].copy_(host, non_blocking=self._pinned)
        elif self._hosts:
            self._fill(layer, self._hosts[0])
            self._buffer[: layer.nbytes].copy_(self._hosts[0][: layer.nbytes])
        else:
            self._fill(layer, self._buffer)

    def _fill(self, layer: _Layer, buffer: Tensor) -> None:
        """Read a layer from disk into a buffer of the host."""
        slots = {slot.name: slot for slot in layer.slots}
        for recipe in layer.recipes:
            self.bytes_read += sum(source.nbytes for source in recipe.sources)
            if recipe.converter is None:
                read_tensor(recipe.sources[0], slots[recipe.target].view(buffer), self._scratch)
                continue
            dtype = slots[recipe.target].empty.dtype
            for name, row, values in convert(self._model, recipe, dtype, self._scratch):
                view = slots[name].view(buffer)
                (view if row is None else view[row]).copy_(values)


def load_streamed(
    spec: ModelSpec, device: torch.device, *, source: Source = "auto"
) -> tuple[PreTrainedModel, LayerStore]:
    """A model whose decoder layers are empty, and the store that brings them in one at a time.

    Embeddings, final norm, head and computed buffers are on the device throughout. The whole model
    is never in memory, unless the layers are kept in the host's for a GPU.

    Args:
        spec: which model, in which type.
        device: where layers are run.
        source: where layers come from: "disk", "ram" (the host's, pinned for a GPU), or "auto":
            the host's memory for a GPU where it is large enough, else the disk.

    Raises:
        ModelError: there is no such model, or its checkpoint cannot be read a layer at a time.
        UnsupportedModel: its layers cannot be found, or share weights.
    """
    config = load_config(spec)
    dtype = resolve_dtype(spec, device)
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(
            f"model {spec.name}: a quantised checkpoint cannot be brought in a layer at a time; "
            "give more --memory, or an unquantised checkpoint"
        )
    files = find_weights(spec, config)
    if files.format == "bin":
        raise ModelError(
            f"model {spec.name}: {files.paths[0].name} cannot be read a layer at a time; "
            "save the model as safetensors (save_pretrained), or give more --memory"
        )
    with _writing():
        return _load(spec, skeleton(spec, dtype), device, source, files)


def _load(
    spec: ModelSpec,
    model: PreTrainedModel,
    device: torch.device,
    source: Source,
    files: WeightFiles,
) -> tuple[PreTrainedModel, LayerStore]:
    stack = find_stack(model)
    recipes = plan_weights(model, stored_tensors(files.paths))
    placement: dict[str, str | torch.device] = {"": device, stack.path: "meta"}
    try:
        info = load_weights(model, recipes, model.dtype, placement)
        finish_loading(model, info, placement)
    except ModelError:
        raise
    except Exception as error:  # a model's own code and torch raise kinds of their own
        raise ModelError(
            f"model {spec.name}: cannot be brought in a layer at a time ({first_line(error)}); "
            "give more --memory"
        ) from None
    refuse_missing(spec, info.missing_keys)
    if info.mismatched_keys:
        raise ModelError(
            f"model {spec.name}: {min(info.mismatched_keys)[0]} has another shape than the "
            "configuration says; the weights and config.json do not belong together"
        )
    model.eval().requires_grad_(False)
    _refuse_shared(model, stack)
    layers = [_layer(stack, index, recipes) for index in range(len(stack))]
    return model, LayerStore(model, layers, device, source)


def _layer(stack: Stack, index: int, recipes: Sequence[Recipe]) -> _Layer:
    prefix = f"{stack.path}.{index}."
    slots: list[_Slot] = []
    start = 0
    for name, tensor in stack.layers[index].state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or tensor.device.type != "meta":
            continue
        owner, _, attribute = name.rpartition(".")
        module = stack.layers[index].get_submodule(owner)
        slot = _Slot(prefix + name, module, attribute, tensor, start)
        slots.append(slot)
        start += -(-slot.nbytes // _ALIGNMENT) * _ALIGNMENT
    own = tuple(recipe for recipe in recipes if recipe.target.startswith(prefix))
    return _Layer(tuple(slots), own, start)


def _refuse_shared(model: PreTrainedModel, stack: Stack) -> None:
    """Refuse layers that share weights with each other or with the rest of the model."""
    seen: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        other = seen.setdefault(id(parameter), name)
        if other != name and stack.path in (name[: len(stack.path)], other[: len(stack.path)]):
            raise UnsupportedModel(
                f"model type {model.config.model_type}: {name} is {other} as well; layers that "
                "share weights cannot be brought in one at a time, give more --memory"
            )


@contextmanager
def _writing() -> Iterator[None]:
    """Tensors made here can be written to later, whether or not the caller is only inferring."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _choose(
    source: Source, layers: Sequence[_Layer], device: torch.device
) -> Literal["disk", "ram"]:
    if source != "auto":
        return source
    fits = sum(layer.nbytes for layer in layers) <= _RAM_SHARE * free_memory()
    return "ram" if device.type != "cpu" and fits else "disk"
