"""A linear map at every later reader: what a matrix at the cut would do, in stock weights.

A matrix at the cut, (X'X + lambda I)^-1 X'Y as in "Ghosted Layers" (arXiv 2605.15491), cannot be
folded: the residual path carries the stream past every weight. What the kept halves read can be
mapped, though, since a norm's output meets nothing but projections: with N what the norm makes of
the repaired stream and M what it makes of the dense one, A = (N'N + lambda I)^-1 N'M is folded into
each projection, W <- W A'. The path that is left wrong is the stream's own to the head; `readers`
leaves it so, `readers_last` has the last half make up for it, and `readers_head` maps what the head
reads, which gives a tied head a weight of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.fitting.reader_fits import fit_head, fit_readers
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.methods.method import Method
from decoder.recovery.methods.places import fits_before, fits_from

__all__ = ["METHODS"]

Places = Callable[[Path, Anatomy], tuple[int, ...]]


def _mapped(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    start = path.cuts[0].stop if path.cuts else path.end
    return tuple(half for half in path.after(start) if anatomy.readers(half))


def _nothing(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    return ()


def _before(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    return tuple(half for cut in path.cuts for half in fits_before(path, cut, anatomy))


def _last(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    return fits_from(path, anatomy, attention=True)[-1:]


def _all(path: Path, anatomy: Anatomy) -> tuple[int, ...]:
    return fits_from(path, anatomy, attention=True)


def _method(name: str, written: Places, *, head: bool = False) -> Method:
    def refusal(anatomy: Anatomy, path: Path) -> str | None:
        if head and anatomy.head_name is None:
            return "its head is not norms and then one projection"
        if not head and not _mapped(path, anatomy):
            return "no kept half after a cut reads the stream by plain projections alone"
        if written is not _nothing and not written(path, anatomy):
            return "no projection that is to be fitted writes into the residual stream linearly"
        return None

    def run(stream: RepairedStream) -> None:
        mapped = {*_mapped(stream.path, stream.anatomy)}
        fitted = {*written(stream.path, stream.anatomy)}
        for half in sorted(mapped | fitted):
            if half in mapped:
                fit_readers(stream, half)
            if half in fitted:
                stream.fit(half)
        if head:
            fit_head(stream)

    source = "a linear map folded into all that read the stream"
    whole = "readers_sequential"
    within = None if head or name == whole else whole
    return Method(name, source, refusal, run, head=head, within=within)


METHODS = (
    _method("readers", _nothing),
    _method("readers_down_projection", _before),
    _method("readers_last", _last),
    _method("readers_sequential", _all),
    _method("readers_head", _nothing, head=True),
)
