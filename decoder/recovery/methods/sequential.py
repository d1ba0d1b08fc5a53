"""Every projection from the first cut on, one after the other: attention's, then the MLP's.

Each is fitted so that the stream after its half meets the dense model's there, which also takes
back what the cuts do to all later halves.
"""

from __future__ import annotations

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.methods.method import Method
from decoder.recovery.methods.places import fits_from

__all__ = ["METHOD"]


def _refusal(anatomy: Anatomy, path: Path) -> str | None:
    if fits_from(path, anatomy, attention=True):
        return None
    return "no projection after the first cut writes into the residual stream linearly"


def _run(stream: RepairedStream) -> None:
    for half in fits_from(stream.path, stream.anatomy, attention=True):
        stream.fit(half)


METHOD = Method("sequential", "ridge regression of each projection in turn", _refusal, _run)
