"""One MLP of a run of removed layers kept after all, its projection fitted: a bridge over the cut.

The first and the last layer of the longest run are tried, and the one is kept that leaves less of
the dense stream missing at the run's end. Its attention stays silent. The bridge is part of the
model and is counted at what it weighs: the repair's edits say which layer it is of.
"""

from __future__ import annotations

from collections.abc import Sequence

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.methods.down_projection import METHODS as FITS
from decoder.recovery.methods.method import Method
from decoder.surgery.edit import Edit, Edits, Remove, ZeroHalf, canonical

__all__ = ["METHOD"]

_BEFORE = FITS[0]


def _run_of(path: Path) -> list[int]:
    """The longest run of layers that go as a whole."""
    gone = {edit.layer for edit in path.edits if isinstance(edit, Remove)}
    runs = [
        [layer for layer in range((cut.start + 1) // 2, cut.stop // 2) if layer in gone]
        for cut in path.cuts
    ]
    return max(runs, key=len, default=[])


def _variants(anatomy: Anatomy, path: Path) -> Sequence[Edits]:
    run = _run_of(path)
    found = []
    for layer in dict.fromkeys((run[0], run[-1])) if len(run) > 1 else ():
        if anatomy.writer(2 * layer + 1) is not None and not anatomy.joined(layer):
            kept: list[Edit] = [edit for edit in path.edits if edit != Remove(layer)]
            found.append(canonical([*kept, ZeroHalf(layer, "attention")]))
    return found


def _refusal(anatomy: Anatomy, path: Path) -> str | None:
    if _variants(anatomy, path):
        return None
    return "no run of two layers or more has an MLP at its end that writes linearly and alone"


METHOD = Method(
    "bridge",
    "one MLP of the run kept, its projection fitted",
    _refusal,
    _BEFORE.run,
    variants=_variants,
)
