"""A scale for every channel of the rotated stream at each cut: LinearPatch's matrix, a reference.

Source: Chen et al., "A Simple Linear Patch Revives Layer-Pruned Large Language Models",
arXiv 2505.24680, equations (5) and (6): P = H diag(d) H', d_k = mean|(Y H)_k| / mean|(X H)_k|, with
H a Hadamard matrix over sqrt(D). No stock weight holds it.
"""

from __future__ import annotations

import torch
from scipy.linalg import hadamard
from torch import Tensor

from decoder.recovery.fitting.anatomy import Anatomy
from decoder.recovery.fitting.path import Path
from decoder.recovery.fitting.repaired import RepairedStream
from decoder.recovery.methods.method import Method
from decoder.recovery.methods.scalar import ratios

__all__ = ["METHOD", "rotation"]


def rotation(width: int) -> Tensor:
    """Make an orthogonal matrix that spreads every channel over all others.

    Args:
        width: D.

    Returns:
        float64 [D, D]: Sylvester's Hadamard matrix over sqrt(D); where D = 2^k m, its Kronecker
        product with the m-th discrete cosine transform, which there is for every m.
    """
    power = width & -width
    odd = width // power
    steps = torch.arange(odd, dtype=torch.float64)
    cosine = torch.cos(torch.pi / odd * (steps[:, None] + 0.5) * steps) * (2 / odd) ** 0.5
    cosine[:, 0] /= 2**0.5
    spread = torch.from_numpy(hadamard(power).astype("float64")) / power**0.5
    return torch.kron(cosine, spread)


def _refusal(anatomy: Anatomy, path: Path) -> str | None:
    if any(cut.start % 2 or cut.stop % 2 for cut in path.cuts):
        return "its matrices stand between whole layers"
    return None


def _run(stream: RepairedStream) -> None:
    spread = rotation(stream.anatomy.width)
    for cut in stream.path.cuts:
        arriving, wanted = stream.stand(cut)
        turn = spread.to(wanted[0].device)
        rotated = ([states.double() @ turn for states in side] for side in (arriving, wanted))
        scale = ratios(*rotated, keep_massive=True)
        matrix = (turn * scale) @ turn.T
        stream.modules[cut.stop] = matrix.float()
        stream.transform(matrix.float())


METHOD = Method(
    "linear_patch", "arXiv 2505.24680, equations (5) and (6)", _refusal, _run, stock=False
)
