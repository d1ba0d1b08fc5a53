"""Bars: what a benchmark measured beside what it had to reach, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["Bar", "write"]


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: what is measured.
        measured: what came out, with its unit.
        target: what it has to reach, with its unit.
        holds: whether it did.
    """

    name: str
    measured: float | str
    target: float | str
    holds: bool


def write(path: str | os.PathLike[str] | None, bars: Sequence[Bar], **extra: Any) -> None:
    """Prints the bars as a table and, if a path is given, writes them as JSON.

    Args:
        path: of the JSON file; its folder is created. None only prints.
        bars: in the order to show.
        **extra: further entries of the JSON file, such as raw timings.
    """
    table = [("bar", "measured", "target", "holds")]
    table += [
        (bar.name, _text(bar.measured), _text(bar.target), "yes" if bar.holds else "NO")
        for bar in bars
    ]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    print()
    for row in table:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    if path is None:
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "bars": [{**asdict(bar), "holds": bool(bar.holds)} for bar in bars],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "platform": platform.platform(),
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
        },
        **extra,
    }
    target.write_text(json.dumps(content, indent=2, default=float) + "\n", encoding="utf-8")


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
