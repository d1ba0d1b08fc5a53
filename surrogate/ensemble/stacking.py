"""Stacking weights: how much of each learner goes into the prediction."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls

__all__ = ["stacking_weights"]

# A learner that would get less than this is not worth its prediction time.
LEAST_WEIGHT = 0.05
# Pulls the weights gently together where the errors cannot tell the learners apart.
PULL = 0.5


def stacking_weights(
    held_out: Float[np.ndarray, "m l"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "l"]:
    """Returns the mixture of least held-out error: none negative, sum 1.

    Weights that sum to 1 keep whatever all learners get right, the level above all, however heavy
    the tails of the targets are (Breiman 1996).

    Args:
        held_out: each learner's predictions of rows that it did not see.
        targets: what they predict.
        weights: of the rows, not negative, some positive.
    """
    share = weights / weights.sum()
    errors = (held_out - targets[:, None]) * np.sqrt(share)[:, None]
    products = errors.T @ errors
    size = np.diag(products)
    result = np.zeros(len(size))
    if (least := size.min()) == 0.0:
        result[size.argmin()] = 1.0
        return result
    # Columns whose products these are; a learner's variance by itself keeps them positive.
    spectrum, vectors = np.linalg.eigh(products / least)
    columns = np.sqrt(np.maximum(spectrum, 0.0))[:, None] * vectors.T
    kept = _mixture(columns) >= LEAST_WEIGHT
    result[kept] = _mixture(columns[:, kept])
    return result


def _mixture(errors: Float[np.ndarray, "m l"]) -> Float[np.ndarray, "l"]:
    count = errors.shape[1]
    # A row of large numbers holds the sum at 1.
    hold = 1e3
    design = np.vstack([errors, np.full((1, count), hold), np.sqrt(PULL) * np.eye(count)])
    wanted = np.zeros(len(design))
    wanted[len(errors)] = hold
    found, _ = nnls(design, wanted)
    return found / found.sum()
