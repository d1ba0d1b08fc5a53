"""What can be known of a checkpoint from its files alone, without its weights in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from decoder.checkpoint.conversion import build_skeleton, missing_weights
from decoder.checkpoint.shards import StoredTensor, WeightFiles, find_weights, stored_tensors
from decoder.checkpoint.weight_map import plan_weights
from decoder.errors import ModelError
from decoder.model.loading import ModelSpec, check_dtype, first_line, load_config, refuse_missing
from decoder.model.structure import find_stack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Footprint", "checkpoint_fingerprint", "footprint", "resolve_dtype", "skeleton"]

Progress = Callable[[int, int], None]

_BUFFER_BYTES = 2**22
_NOT_NUMBERS = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}


@dataclass(frozen=True)
class Footprint:
    """How large a model is in memory, in the type it is used in; tied weights count once.

    Attributes:
        parameters: number of parameters.
        total_bytes: of all weights and buffers.
        largest_layer_bytes: of the largest decoder layer.
        other_bytes: of everything outside the decoder layers.
        layers: number of decoder layers.
        hidden_size: width of the hidden states.
        vocabulary: number of token ids.
    """

    parameters: int
    total_bytes: int
    largest_layer_bytes: int
    other_bytes: int
    layers: int
    hidden_size: int
    vocabulary: int


def skeleton(spec: ModelSpec, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The model on the meta device, in evaluation mode: all of its structure, none of its weights.

    Args:
        spec: which model.
        dtype: the type of its weights; default is `spec.dtype`, or for "auto" the stored type.

    Raises:
        ModelError: there is no such model, or it is not a causal language model.
    """
    config = load_config(spec)
    if dtype is None:
        dtype = _asked_dtype(spec) or _stored_dtype(spec, config)
    try:
        return build_skeleton(config, dtype, spec.trust_remote_code)
    except Exception as error:  # a model's own code raises kinds of its own
        raise ModelError(
            f"model {spec.name}: its configuration makes no model ({first_line(error)}); "
            "check config.json"
        ) from None


def resolve_dtype(spec: ModelSpec, device: torch.device) -> torch.dtype:
    """The type that `load_model` would use on this device: for "auto", float32 on a CPU.

    Raises:
        ModelError: the type is unknown, or there is no such model.
    """
    asked = _asked_dtype(spec)
    if asked is not None:
        return asked
    return torch.float32 if device.type == "cpu" else _stored_dtype(spec, load_config(spec))


def footprint(spec: ModelSpec, device: torch.device) -> Footprint:
    """The size of the model in the type it would be used in on this device.

    Raises:
        ModelError: there is no such model.
        UnsupportedModel: its layers cannot be found.
    """
    model = skeleton(spec, resolve_dtype(spec, device))
    text = model.config.get_text_config(decoder=True)
    layers = [_bytes(layer) for layer in find_stack(model).layers]
    total = _bytes(model)
    return Footprint(
        parameters=sum(p.numel() for p in model.parameters()),
        total_bytes=total,
        largest_layer_bytes=max(layers),
        other_bytes=total - sum(layers),
        layers=len(layers),
        hidden_size=text.hidden_size,
        vocabulary=text.vocab_size,
    )


def checkpoint_fingerprint(spec: ModelSpec, progress: Progress | None = None) -> str:
    """Hex digest of every stored weight (name, type, shape, bytes) and the configuration's numbers.

    It does not depend on the directory, on how the weights are split into files, or on the type
    that they are used in. Weights are read a few MB at a time. Pickled checkpoints are digested
    file by file and never unpickled.

    Args:
        spec: which model.
        progress: called with the bytes read and the bytes to read.

    Raises:
        ModelError: there is no such model, weights are missing, or a file is damaged.
    """
    config = load_config(spec)
    files = find_weights(spec, config)
    digest = hashlib.blake2b(digest_size=16)
    if files.format == "bin":
        _digest_files(digest, files, progress)
    else:
        stored = stored_tensors(files.paths)
        _refuse_incomplete(spec, config, stored)
        _digest_tensors(digest, stored, progress)
    digest.update(repr(_numbers(config.to_dict())).encode())
    return digest.hexdigest()


def _digest_tensors(
    digest: Any, stored: Mapping[str, StoredTensor], progress: Progress | None
) -> None:
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    total, done = sum(tensor.nbytes for tensor in stored.values()), 0
    for name in sorted(stored):
        tensor = stored[name]
        digest.update(f"{name} {tensor.shape} {tensor.type}\n".encode())
        for chunk in tensor.chunks(buffer):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)


def _digest_files(digest: Any, files: WeightFiles, progress: Progress | None) -> None:
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    wholes = [_whole(path) for path in files.paths]
    total, done = sum(whole.nbytes for whole in wholes), 0
    for whole in wholes:
        digest.update(f"{whole.name} {whole.nbytes}\n".encode())
        for chunk in whole.chunks(buffer):
            digest.update(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)


def _whole(path: Path) -> StoredTensor:
    """A whole file as one range of bytes."""
    size = path.stat().st_size
    return StoredTensor(path.name, path, "U8", (size,), 0, size)


def _refuse_incomplete(spec: ModelSpec, config: Any, stored: Mapping[str, StoredTensor]) -> None:
    """Refuse what `load_model` would refuse, without reading a weight."""
    if getattr(config, "quantization_config", None) is not None:
        return  # its weights are named and shaped otherwise than the skeleton's
    model = build_skeleton(config, _asked_dtype(spec) or torch.float32, spec.trust_remote_code)
    missing, mismatched = missing_weights(model, plan_weights(model, stored))
    refuse_missing(spec, missing)
    if mismatched:
        raise ModelError(
            f"model {spec.name}: {mismatched[0]} has another shape than the configuration says; "
            "the weights and config.json do not belong together"
        )


def _asked_dtype(spec: ModelSpec) -> torch.dtype | None:
    check_dtype(spec)
    return None if spec.dtype == "auto" else getattr(torch, spec.dtype)


def _stored_dtype(spec: ModelSpec, config: Any) -> torch.dtype:
    """The type that the configuration names; where it names none, that of the first weight."""
    named = getattr(config, "dtype", None)
    if named is not None:
        return getattr(torch, named) if isinstance(named, str) else named
    files = find_weights(spec, config)
    if files.format == "safetensors":
        for tensor in stored_tensors(files.paths[:1]).values():
            if tensor.dtype.is_floating_point:
                return tensor.dtype
    raise ModelError(
        f"--dtype auto: neither the configuration nor the weights of {spec.name} tell a type; "
        "choose float32, bfloat16 or float16"
    )


def _numbers(value: Any) -> Any:
    """A configuration without names and notes, in one order."""
    if isinstance(value, Mapping):
        kept = {str(key): item for key, item in value.items() if key not in _NOT_NUMBERS}
        return [(key, _numbers(kept[key])) for key in sorted(kept)]
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return value


def _bytes(module: nn.Module) -> int:
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
