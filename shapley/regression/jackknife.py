"""Standard errors of regression estimates: leave out groups of complement pairs in turn."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from shapley.regression.weighting import (
    GROUPS,
    Rows,
    complement_groups,
    gram,
    identified,
    jackknife_variance,
)

__all__ = ["pair_jackknife"]


def pair_jackknife(
    rows: Rows,
    coalitions: Bool[np.ndarray, "m n"],
    estimate: Callable[[Float[np.ndarray, "k"]], Float[np.ndarray, "n"]],
    centre: Float[np.ndarray, "n"],
    unpaired: float = 1.0,
    seed: int = 0,
) -> Float[np.ndarray, "n"] | None:
    """Returns the variance of an estimate that is a function of the weights of the rows.

    Where a share ``f`` of a size was measured, sampling it without replacement has left only
    ``1 - f`` of the variance, none once the size is complete. So a group that is left out keeps
    ``1 - sqrt(1 - f)`` of its weight, which scales what leaving it out changes by ``sqrt(1 - f)``.

    Args:
        rows: the design.
        coalitions: that it was taken from.
        estimate: takes one weight a row of ``rows``.
        centre: the estimate from everything.
        unpaired: weight of rows without a measured complement, see :meth:`Rows.weights`.
        seed: of the groups.

    Returns:
        One variance a player, or None if there are fewer pairs than groups, or leaving one out
        leaves the estimate undetermined.
    """
    n = rows.n
    groups = complement_groups(np.asarray(coalitions)[rows.inner], GROUPS, seed)
    if groups.max(initial=-1) < GROUPS - 1:
        return None
    sizes = np.arange(n + 1)
    totals = np.array([float(math.comb(n, size)) for size in sizes])
    measured = np.bincount(rows.sizes, minlength=n + 1) / totals
    stays = 1.0 - np.sqrt(np.maximum(1.0 - measured, 0.0))
    # Both sizes of a pair are changed alike, by the one of which less is known.
    stays = np.minimum(stays, stays[::-1])[rows.sizes]
    weights = rows.weights(unpaired=unpaired)
    by_size = np.bincount(rows.sizes, weights, minlength=n + 1)
    leave_out = np.empty((GROUPS, n))
    for group in range(GROUPS):
        left = groups == group
        if not identified(gram(rows.columns[~left], weights[~left], weights[~left])[0]):
            return None
        part = np.where(left, stays * weights, weights)
        rest = np.bincount(rows.sizes, part, minlength=n + 1)
        scale = np.divide(by_size, rest, out=np.ones(n + 1), where=rest > 0)
        leave_out[group] = estimate(part * scale[rows.sizes])
    return jackknife_variance(leave_out, centre, 0.0)
