"""The projection at a cut, fitted itself: before the cut, after it, on both sides, or all later.

With u what the projection is given and Y - X what the stream misses at the cut, the projection
gets (U'U + lambda I)^-1 U'(Y - X) more: ReplaceMe (arXiv 2505.02819) maps D numbers, this all F
that the projection sees. Where the last half before a cut is an attention whose MLP goes, it is the
attention's own projection.
"""

from __future__ import annotations

from collections.abc import Callable

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.methods.method import Method
from decoder.recovery.methods.places import fits_after, fits_before, fits_from

__all__ = ["METHODS"]

Places = Callable[[Path, Anatomy], tuple[int, ...]]
_SOURCE = "ridge regression of the projection at the cut"


def _before(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    return tuple(half for cut in path.cuts for half in fits_before(path, cut, anatomy))


def _after(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    return tuple(half for cut in path.cuts for half in fits_after(path, cut, anatomy))


def _both(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    return tuple(sorted({*_before(path, anatomy), *_after(path, anatomy)}))


def _later(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    return fits_from(path, anatomy, attention=False)


def _method(name: str, places: Places) -> Method:
    def refusal(anatomy: Anatomy, path: Path) -> str | None:
        if places(path, anatomy):
            return None
        return "no projection at the cuts writes into the residual stream linearly"

    def run(stream: RepairedStream) -> None:
        for half in sorted(set(places(stream.path, stream.anatomy))):
            stream.fit(half)

    return Method(name, _SOURCE, refusal, run, within="sequential")


METHODS = (
    _method("down_projection", _before),
    _method("down_projection_after", _after),
    _method("down_projection_both", _both),
    _method("down_projection_later", _later),
)
