"""Named random streams: every random number of the project comes from one seed and one name."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, name: str, *more: int | str) -> np.random.Generator:
    """Returns the random generator that belongs to a seed and a name.

    Streams with different names are independent of each other, so adding a consumer of
    randomness never changes the numbers that another consumer draws. The mapping goes through
    SHA-256 and NumPy's ``SeedSequence``/``PCG64``, which are the same on every platform.

    Args:
        seed: non-negative integer.
        name: what the numbers are for, such as ``"pairs"``.
        *more: further parts of the name, such as a fold or a stratum. ``1`` and ``"1"`` differ.

    Raises:
        ValueError: if the seed is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}; pass a non-negative integer")
    label = repr((str(name), *(int(part) if not isinstance(part, str) else part for part in more)))
    words = np.frombuffer(hashlib.sha256(label.encode()).digest(), dtype="<u4")
    entropy = [int(seed), *(int(word) for word in words)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
