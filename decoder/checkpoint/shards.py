"""The weight files of a checkpoint, read as byte ranges: nothing is mapped, nothing kept open.

A safetensors file is 8 bytes of header length, a JSON header that names every tensor with its type,
shape and byte range, and the bytes (https://huggingface.co/docs/safetensors). Mapped pages count
as a process's resident memory; plain reads into a given buffer do not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from decoder.errors import ModelError

if TYPE_CHECKING:
    from decoder.model.loading import ModelSpec

__all__ = ["StoredTensor", "WeightFiles", "find_weights", "stored_tensors"]

_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F4": 4,
}
_TORCH = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "F32": torch.float32,
    "I64": torch.int64,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_MOST_HEADER_BYTES = 100_000_000  # the format's own limit


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold a checkpoint's weights.

    Attributes:
        format: "safetensors", or "bin" for pickles that `torch.save` wrote.
        paths: the files, in the order of their names.
    """

    format: Literal["safetensors", "bin"]
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor of a checkpoint lies.

    Attributes:
        name: its name in the checkpoint.
        path: the safetensors file.
        type: the format's name of its type, "BF16" say.
        shape: its shape.
        start: first byte in the file.
        nbytes: number of bytes.
    """

    name: str
    path: Path
    type: str
    shape: tuple[int, ...]
    start: int
    nbytes: int

    @property
    def dtype(self) -> torch.dtype:
        """The torch type.

        Raises:
            ModelError: torch has no such type.
        """
        if self.type not in _TORCH:
            raise ModelError(
                f"{self.path.name}: tensor {self.name} is stored as {self.type}, which cannot be "
                "read here; save the checkpoint as bfloat16 or float32"
            )
        return _TORCH[self.type]

    def chunks(self, buffer: memoryview) -> Iterator[memoryview]:
        """The bytes in order, each chunk read into `buffer` anew and lent until the next one.

        Raises:
            ModelError: the file ends early or cannot be read.
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.start)
                left = self.nbytes
                while left:
                    chunk = buffer[: min(left, len(buffer))]
                    filled = 0
                    while filled < len(chunk):
                        count = file.readinto(chunk[filled:])
                        if not count:
                            raise ModelError(
                                f"{self.path.name}: ends within tensor {self.name}; "
                                "save or download the checkpoint again"
                            )
                        filled += count
                    yield chunk
                    left -= len(chunk)
        except OSError as error:
            raise ModelError(
                f"{self.path}: cannot be read ({error.strerror or error}); "
                "check the disk and the permissions"
            ) from None


def find_weights(spec: ModelSpec, config: Any) -> WeightFiles:
    """The weight files that transformers would load; hub files come through its cache.

    Raises:
        ModelError: there are none, or some are missing.
    """
    wanted = getattr(config, "transformers_weights", None)
    names = [wanted] if wanted else ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        for candidate in (name, f"{name}.index.json"):
            path = _file(spec, candidate)
            if path is None:
                continue
            kind = "bin" if name.endswith(".bin") else "safetensors"
            if not candidate.endswith(".index.json"):
                return WeightFiles(kind, (path,))
            return WeightFiles(kind, _shards(spec, path))
    raise ModelError(
        f"model {spec.name}: no weights beside config.json (model.safetensors or its index); "
        "save or download it again"
    )


def stored_tensors(files: Sequence[Path]) -> dict[str, StoredTensor]:
    """Every tensor of these safetensors files by name, from their headers alone.

    Raises:
        ModelError: a file is truncated or no safetensors file, or two hold the same tensor.
    """
    found: dict[str, StoredTensor] = {}
    for path in files:
        for tensor in _header(path):
            if tensor.name in found:
                raise ModelError(
                    f"{path.name}: tensor {tensor.name} is in {found[tensor.name].path.name} too; "
                    "save or download the checkpoint again"
                )
            found[tensor.name] = tensor
    return found


def _file(spec: ModelSpec, name: str) -> Path | None:
    if Path(spec.name).is_dir():
        path = Path(spec.name) / name
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(
            spec.name, name, revision=spec.revision, _raise_exceptions_for_missing_entries=False
        )
    except Exception as error:  # the hub client raises its own many kinds
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"model {spec.name}: {name} cannot be fetched ({reason[0].rstrip('.')}); "
            "check the network or give a checkpoint directory"
        ) from None
    return None if found is None else Path(found)


def _shards(spec: ModelSpec, index: Path) -> tuple[Path, ...]:
    try:
        weight_map = json.loads(index.read_text("utf-8"))["weight_map"]
        names = sorted(set(weight_map.values()))
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name of a file that is no text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(
            f"model {spec.name}: {index.name} is no index of weight files; "
            "save or download it again"
        ) from None
    outside = [n for n in names if Path(n).is_absolute() or ".." in Path(n).parts]
    if outside:
        raise ModelError(
            f"model {spec.name}: {index.name} names a weight file outside of the checkpoint "
            f"({outside[0]}); save or download it again"
        )
    paths = {name: _file(spec, name) for name in names}
    missing = [name for name, path in paths.items() if path is None]
    if missing or not names:
        raise ModelError(
            f"model {spec.name}: {len(missing)} of {len(names)} weight files are missing "
            f"(first: {missing[0] if missing else 'none are named'}); save or download it again"
        )
    return tuple(path for path in paths.values() if path is not None)


def _header(path: Path) -> list[StoredTensor]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(_MOST_HEADER_BYTES, size - 8):
                raise ValueError("no safetensors header")
            header = json.loads(file.read(length))
        start = 8 + length
        tensors = [
            _entry(name, entry, path, start)
            for name, entry in header.items()
            if name != "__metadata__"
        ]
        end = max((t.start + t.nbytes for t in tensors), default=start)
        if end > size:
            raise ValueError(f"{end - size} bytes are missing")
        if end < size:
            raise ValueError(f"{size - end} bytes too many")
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror or error}); "
            "check the disk and the permissions"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{path}: damaged weights ({reason}); save or download the checkpoint again"
        ) from None
    return tensors


def _entry(name: str, entry: dict[str, Any], path: Path, start: int) -> StoredTensor:
    shape = tuple(int(size) for size in entry["shape"])
    first, last = entry["data_offsets"]
    bits = _BITS.get(entry["dtype"])
    if bits is None:
        raise ValueError(f"tensor {name} has the unknown type {entry['dtype']}")
    if first < 0 or last - first != math.prod(shape) * bits // 8 or min(shape, default=0) < 0:
        raise ValueError(f"the bytes of tensor {name} do not fit its shape")
    return StoredTensor(name, path, entry["dtype"], shape, start + first, last - first)
