"""A linear map of what the MLP before a cut writes, folded into its down-projection or all of them.

Source: Shopkhoev et al., "ReplaceMe: Network Simplification via Depth Pruning and Transformer Block
Linearization", arXiv 2505.02819, section 3: T = (M'M + lambda I)^-1 M'(Y - A), with M what the MLP
writes and A the stream before it. Here T is shrunk towards the identity, not towards zero. Where
experts write, T goes into the down-projection of each and of the shared one.
"""

from __future__ import annotations

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.methods.method import Method
from decoder.recovery.methods.places import maps_before

__all__ = ["METHOD", "PUBLISHED"]


def _refusal(anatomy: Anatomy, path: Path) -> str | None:
    if any(maps_before(path, cut, anatomy) for cut in path.cuts):
        return None
    return "no projection before a cut writes into the residual stream linearly"


def _run(stream: RepairedStream) -> None:
    for cut in stream.path.cuts:
        for half in maps_before(stream.path, cut, stream.anatomy):
            stream.map(half)


def _run_published(stream: RepairedStream) -> None:
    for cut in stream.path.cuts:
        for half in maps_before(stream.path, cut, stream.anatomy):
            stream.map(half, keep_massive=True)


METHOD = Method("replace_me", "arXiv 2505.02819, section 3", _refusal, _run)

PUBLISHED = Method(
    "replace_me_published", "arXiv 2505.02819, on all positions", _refusal, _run_published
)
"""As published: massive activations stay in the sums. For comparison alone."""
