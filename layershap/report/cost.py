"""What the answers cost to find."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cost"]


@dataclass(frozen=True)
class Cost:
    """Work that went into a run, over all its sessions.

    Attributes:
        evaluations: coalitions measured on the real model, baselines' and verification included.
        worker_seconds: time that workers spent on them, all workers added.
        tokens: tokens that all evaluations together read; None where tasks were measured, too.
    """

    evaluations: int
    worker_seconds: float
    tokens: int | None = None
