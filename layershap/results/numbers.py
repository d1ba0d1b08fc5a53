"""Numbers as a person writes them on the command line or in `run.toml`."""

from __future__ import annotations

import re

__all__ = ["parse_size"]

_SUFFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}


def parse_size(text: str) -> float:
    """Read a number of parameters: 6e9, 6B or 500M.

    Args:
        text: what a person wrote.

    Raises:
        ValueError: it is no number.
    """
    found = re.fullmatch(r"(.*?)([KMBGT]?)", text.strip(), re.IGNORECASE | re.DOTALL)
    assert found is not None  # anything and at most a suffix
    try:
        return float(found[1]) * _SUFFIXES[found[2].upper()]
    except ValueError:
        raise ValueError("must be a number, such as 6e9, 6B or 500M") from None
