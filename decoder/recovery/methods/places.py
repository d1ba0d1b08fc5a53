"""Which projections of the kept halves can be fitted for which cut."""

from __future__ import annotations

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Cut, Path

__all__ = ["fits_after", "fits_before", "fits_from", "maps_before"]


def fits_before(path: Path, cut: Cut, anatomy: Anatomy) -> tuple[int, ...]:
    """The last kept half before a cut, where its projection can be fitted; else nothing.

    An earlier one would not do: what lies between it and the cut is not linear.

    Args:
        path: what remains.
        cut: one of its cuts.
        anatomy: of the model.
    """
    last = path.before(cut.start)[-1:]
    return tuple(half for half in last if _fits(path, half, anatomy))


def maps_before(path: Path, cut: Cut, anatomy: Anatomy) -> tuple[int, ...]:
    """The last kept half before a cut, where all that it writes, or its projection, can be mapped.

    Args:
        path: what remains.
        cut: one of its cuts.
        anatomy: of the model.
    """
    last = path.before(cut.start)[-1:]
    return tuple(
        half
        for half in last
        if path.target(half, anatomy) is not None
        and (anatomy.outputs(half) or anatomy.writer(half) is not None)
    )


def fits_after(path: Path, cut: Cut, anatomy: Anatomy) -> tuple[int, ...]:
    """The MLP of the first kept block after a cut, where its projection can be fitted.

    Where the block has lost its MLP, its attention.

    Args:
        path: what remains.
        cut: one of its cuts.
        anatomy: of the model.
    """
    first = path.after(cut.stop)[:2]
    mlps = [half for half in first if half % 2]
    return tuple(half for half in (mlps or first)[:1] if _fits(path, half, anatomy))


def fits_from(path: Path, anatomy: Anatomy, *, attention: bool) -> tuple[int, ...]:
    """All kept halves from the last one before the first cut on whose projections can be fitted.

    Args:
        path: what remains.
        anatomy: of the model.
        attention: those of attention too, and not of MLPs alone.
    """
    if not path.cuts:
        return ()
    start = max(path.before(path.cuts[0].start), default=0)
    ends = {half for cut in path.cuts for half in fits_before(path, cut, anatomy)}
    return tuple(
        half
        for half in path.after(start)
        if (attention or half % 2 or half in ends) and _fits(path, half, anatomy)
    )


def _fits(path: Path, half: int, anatomy: Anatomy) -> bool:
    return path.target(half, anatomy) is not None and anatomy.writer(half) is not None
