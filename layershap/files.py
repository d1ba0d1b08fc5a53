"""Files that readers see whole or not at all, and numbers as JSON can hold them."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["finite", "json_text", "write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Write a file so that readers see the old or the new one, even after a loss of power.

    Raises:
        OSError: it cannot be written; the old one is as it was.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:  # a full disk names no file
        with contextlib.suppress(OSError):
            partial.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from None
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring what a directory holds to the disk; nothing where the system cannot."""
    with contextlib.suppress(OSError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def json_text(content: Any, indent: int | None = 2) -> str:
    """Return JSON with a line's end; numbers that are not finite become null."""
    return json.dumps(finite(content), indent=indent) + "\n"


def finite(value: Any) -> Any:
    """Return the same content with text as keys and None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
