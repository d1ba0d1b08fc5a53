"""How long a chunk of work is, and what becomes of coalitions that kill their workers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Policy"]


@dataclass(frozen=True)
class Policy:
    """How :func:`cluster.measure` deals with chunks, deaths and what is quarantined.

    Attributes:
        chunk_seconds: longest chunk wanted, which is also what a death can cost.
        max_attempts: deaths after which a coalition, or a worker that cannot start, is given up.
        retry_failed: measure again what an earlier run quarantined.

    Raises:
        ValueError: if ``chunk_seconds`` is not above 0 or ``max_attempts`` below 1.
    """

    chunk_seconds: float = 3.0
    max_attempts: int = 3
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if not self.chunk_seconds > 0:
            raise ValueError(
                f"chunk_seconds must be above 0, got {self.chunk_seconds}; give a positive number"
            )
        if self.max_attempts < 1:
            raise ValueError(
                f"max_attempts must be at least 1, got {self.max_attempts}; give a positive number"
            )
