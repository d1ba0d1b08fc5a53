"""Writing a checkpoint beside its place: it gets its name when it is whole, or leaves nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

from decoder.checkpoint.companions import open_to_others
from decoder.errors import ModelError
from decoder.model.loading import first_line

__all__ = ["Unwritable", "beside", "narrow", "refuse_small", "refuse_taken", "save", "settle"]

_SPARE_BYTES = 32 * 2**20  # tokenizer, configuration and what the file system needs itself


class Unwritable(ModelError):
    """A directory is taken, too small or cannot be written."""


def refuse_taken(destination: Path) -> None:
    """Refuse a destination that holds anything.

    Raises:
        Unwritable: it does, or is a file.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise Unwritable(f"--to {destination}: exists and is not empty; name a new directory")


def refuse_small(destination: Path, model: Any) -> None:
    """Refuse a disk without room for the model's checkpoint and the second copy that is checked.

    Raises:
        Unwritable: there is too little.
    """
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    needed = 2 * (size + _SPARE_BYTES)
    parent = next(p for p in destination.absolute().parents if p.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise Unwritable(
            f"--to {destination}: has {_amount(free)} free, the checkpoint and a second copy to "
            f"check it with need about {_amount(needed)}; name another disk"
        )


@contextmanager
def beside(destination: Path) -> Iterator[Path]:
    """Lend a new directory beside the destination, which is gone afterwards.

    Directories above the destination are made, and taken away again if nothing comes of it.

    Raises:
        Unwritable: nothing can be written there.
    """
    place = destination.absolute()
    made = [parent for parent in place.parents if not parent.exists()]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        room = Path(mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except OSError as error:
        _take_away(made)
        raise _unwritable(destination, error) from None
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
        if not place.exists():
            _take_away(made)


def settle(checkpoint: Path, destination: Path) -> None:
    """Give a finished checkpoint its name.

    Raises:
        Unwritable: the name was taken meanwhile.
    """
    try:
        open_to_others(checkpoint)
        if destination.exists():
            destination.rmdir()
        checkpoint.rename(destination)
    except OSError as error:
        raise _unwritable(destination, error) from None


def save(model: Any, path: Path, destination: Path) -> None:
    """Saves a model to `path` for the sake of `destination`.

    Args:
        model: to be saved.
        path: the directory to write.
        destination: the one that a person asked for, named in errors.

    Raises:
        Unwritable: it cannot be written, or the model refuses to be.
    """
    from safetensors import SafetensorError

    try:
        model.save_pretrained(path)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise _unwritable(destination, error) from None


def narrow(model: Any, dtype: torch.dtype) -> None:
    """Give every weight this type that has the same value in it, in place.

    So a checkpoint that was widened to be measured is stored as it was, also where some of its
    weights are stored wider than others.
    """
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.is_floating_point() and tensor.dtype != dtype:
            cast = tensor.detach().to(dtype)
            if torch.equal(cast.to(tensor.dtype), tensor):
                tensor.data = cast


def _take_away(directories: list[Path]) -> None:
    for directory in directories:
        with suppress(OSError):
            directory.rmdir()


def _unwritable(destination: Path, error: Exception) -> Unwritable:
    reason = (isinstance(error, OSError) and error.strerror) or first_line(error)
    return Unwritable(
        f"--to {destination}: the checkpoint cannot be written ({reason}); name another directory"
    )


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
