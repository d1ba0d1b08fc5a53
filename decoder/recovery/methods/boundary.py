"""A general matrix at each cut, which no stock weight holds: what could be had, as a reference.

Source: "Ghosted Layers", arXiv 2605.15491: P = I + (X'X + lambda I)^-1 X'(Y - X). It acts on
massive activations too, so they stay in the sums, and every row is weighted by 1 / |y|.
"""

from __future__ import annotations

import torch

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.fitting.ridge import fit_ridge
from decoder.recovery.fitting.statistics import Sums
from decoder.recovery.methods.linear_patch import METHOD as LINEAR_PATCH
from decoder.recovery.methods.method import Method

__all__ = ["METHOD"]


def _refusal(anatomy: Anatomy, path: Path) -> str | None:
    return LINEAR_PATCH.refusal(anatomy, path)


def _run(stream: RepairedStream) -> None:
    width = stream.anatomy.width
    for cut in stream.path.cuts:
        arriving, wanted = stream.stand(cut)
        sums = Sums.empty(width, width, wanted[0].device)
        for batch, x_BTD, y_BTD in zip(stream.dense.batches, arriving, wanted, strict=True):
            weight = 1 / y_BTD.float().norm(dim=-1, keepdim=True).clamp_min(1e-6)
            none = torch.zeros(x_BTD.shape[:2], dtype=torch.bool, device=x_BTD.device)
            x, missing = x_BTD.float() * weight, (y_BTD.float() - x_BTD.float()) * weight
            sums.add(x, missing, none, batch.first, f"the cut at L{cut.stop // 2}")
        matrix = torch.eye(width, device=sums.gram.device) + fit_ridge(sums).matrix.float()
        stream.modules[cut.stop] = matrix
        stream.transform(matrix)


METHOD = Method("boundary", "Ghosted Layers, arXiv 2605.15491", _refusal, _run, stock=False)
