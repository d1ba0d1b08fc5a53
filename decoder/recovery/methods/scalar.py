"""One number that brings the stream before a cut to the size that it has after it.

Source: Chen et al., "Prune&Comp: Free Lunch for Layer-Pruned LLMs via Iterative Pruning with
Magnitude Compensation", arXiv 2507.18212, equation (4): the mean over channels of
mean|Y_k| / mean|X_k|.
"""

from __future__ import annotations

import torch
from torch import Tensor

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.fitting.statistics import massive
from decoder.recovery.methods.method import Method
from decoder.recovery.methods.scaling import norm_for_scale, scaled_names, scales

__all__ = ["METHOD", "PUBLISHED", "ratios"]


def ratios(arriving: list[Tensor], wanted: list[Tensor], *, keep_massive: bool) -> Tensor:
    """Ratios of the mean magnitudes of channels after and before a cut.

    Args:
        arriving: hidden states [B, T, D] before the cut, one tensor a batch.
        wanted: those of the dense model after it.
        keep_massive: leave no position out.

    Returns:
        float64 [D].
    """
    sums = torch.zeros(2, wanted[0].shape[-1], dtype=torch.float64, device=wanted[0].device)
    for x_BTD, y_BTD in zip(arriving, wanted, strict=True):
        used = ~massive(x_BTD, y_BTD) | keep_massive
        for row, states in enumerate((x_BTD, y_BTD)):
            sums[row] += states[used].double().abs().sum(0)
    return sums[1] / sums[0].clamp_min(1e-30)


def _refusal(anatomy: Anatomy, path: Path) -> str | None:
    if not scales(anatomy):
        return "what writes into the residual stream does not scale exactly"
    return None


def _run(stream: RepairedStream, keep_massive: bool = False) -> None:
    scale = 1.0
    for cut in stream.path.cuts:
        arriving, wanted = stream.stand(cut)
        own = float(ratios(arriving, wanted, keep_massive=keep_massive).mean())
        scale *= own
        names = scaled_names(stream.anatomy, cut.start, stream.path.halves)
        assert names is not None
        for name in names:
            stream.values[name] = stream.value(name) * own
        stream.transform(torch.tensor(own))
    stream.values |= norm_for_scale(stream.anatomy, scale) or {}


METHOD = Method("scalar", "Prune&Comp, arXiv 2507.18212, equation (4)", _refusal, _run)

PUBLISHED = Method(
    "scalar_published", "the same on all positions", _refusal, lambda stream: _run(stream, True)
)
"""As published: massive activations count. For comparison alone."""
