"""Ridge regression from sums, its strength chosen on held-out sequences of the same text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from decoder.recovery.fitting.statistics import Sums

__all__ = ["FEW_TOKENS", "STRENGTHS", "Ridge", "fit_ridge", "gain", "solve"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Strengths to choose from, as shares of the mean diagonal of the Gram matrix."""

FEW_TOKENS = (1e-2, 1e-1, 1.0, 10.0)
"""Those where tokens are few for the width."""


def gain(sums: Sums, matrix: Tensor) -> float:
    """How much larger the targets Z + R are than Z + Z A, in the mean over tokens.

    A fit regresses to the mean: what it answers is smaller than what it was fitted to, which a
    norm makes good after a stream and nothing does after a norm.

    Args:
        sums: of inputs and targets of one width.
        matrix: A [F, F].

    Returns:
        The ratio of their root mean squares.
    """
    gram, cross = sums.gram.sum(0), sums.cross.sum(0)
    wanted = gram.trace() + 2 * cross.trace() + sums.square.sum()
    mapped = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device) + matrix
    found = (mapped * (gram @ mapped)).sum()
    return float((wanted / found.clamp_min(1e-300)).sqrt())


@dataclass(frozen=True)
class Ridge:
    """What was fitted.

    Attributes:
        matrix: A [F, D] in float64, fitted on all tokens; zero where no strength helped.
        strength: the chosen one.
        explained: share of the held-out squares that it explains, of a fit without them.
    """

    matrix: Tensor
    strength: float
    explained: float


def fit_ridge(sums: Sums, strengths: Sequence[float] = STRENGTHS) -> Ridge:
    """Fit R ~ Z A, the strength by the error on the held-out sequences, then on all tokens.

    Args:
        sums: at least one sequence of each kind, or the middle strength is taken unseen.
        strengths: to choose from.

    Returns:
        The fit.
    """
    if not all(sums.tokens):
        middle = strengths[len(strengths) // 2]
        matrix = solve(sums.gram.sum(0), sums.cross.sum(0), middle, sums.fixed)
        return Ridge(matrix, middle, float("nan"))
    gains = []
    for strength in strengths:
        matrix = solve(sums.gram[0], sums.cross[0], strength, sums.fixed)
        # |R - Z A|^2 = |R|^2 - 2 <A, Z'R> + <A, Z'Z A>
        gain = 2 * (matrix * sums.cross[1]).sum() - (matrix * (sums.gram[1] @ matrix)).sum()
        gains.append(float(gain / sums.square[1].clamp_min(1e-300)))
    best = max(range(len(strengths)), key=lambda index: gains[index])
    if gains[best] <= 0:
        return Ridge(torch.zeros_like(sums.cross[0]), strengths[-1], 0.0)
    matrix = solve(sums.gram.sum(0), sums.cross.sum(0), strengths[best], sums.fixed)
    return Ridge(matrix, strengths[best], gains[best])


def solve(gram: Tensor, cross: Tensor, strength: float, fixed: Tensor | None = None) -> Tensor:
    """Solve (G + K + strength mean(diag G) I) A = C.

    Args:
        gram: G [F, F].
        cross: C [F, D].
        strength: at least 0.
        fixed: K [F, F], of inputs for which A is to give nothing.

    Returns:
        A [F, D].
    """
    mean = float(gram.diagonal().mean())
    if not mean:
        return torch.zeros_like(cross)
    added = gram.clone() if fixed is None else gram + fixed
    added.diagonal().add_(strength * mean)
    factor, info = torch.linalg.cholesky_ex(added)
    if int(info):
        added.diagonal().add_(1e-6 * mean)
        factor = torch.linalg.cholesky(added)
    return torch.cholesky_solve(cross, factor)
