"""Ridge regression on players and pairs of players, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

__all__ = ["PairwiseRidge", "fit_penalised", "fit_validated", "pair_features"]

PENALTIES = np.logspace(-4, 5, 37)


@dataclass(frozen=True, eq=False)
class PairwiseRidge:
    """The function ``bias + z'linear + sum_{i<j} pairs_ij z_i z_j`` of codes ``z``.

    A player's code is whatever the fit was given: a sign in {-1, 1}, or 1 for removed players and
    0 for kept ones.

    Attributes:
        bias: constant term.
        linear: one coefficient a player.
        pairs: one coefficient a pair, strictly upper triangular.
        penalty: the ridge penalty of the fit.
    """

    bias: float
    linear: Float[np.ndarray, "n"]
    pairs: Float[np.ndarray, "n n"]
    penalty: float

    def __call__(self, codes: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns one value a row."""
        return self.bias + codes @ self.linear + ((codes @ self.pairs) * codes).sum(axis=1)


def pair_features(codes: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B p"]:
    """Returns the codes and the products of all pairs, ``p = n + n (n - 1) / 2`` columns."""
    first, second = np.triu_indices(codes.shape[1], 1)
    return np.hstack([codes, codes[:, first] * codes[:, second]])


def fit_validated(
    codes: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
) -> PairwiseRidge:
    """Returns the ridge fit whose penalty has the least generalised cross-validation error.

    Rows are weighted, the constant is not penalised. The smaller of the two Gram matrices is
    decomposed once for all penalties (Golub, Heath & Wahba 1979).

    Args:
        codes: one row a coalition, such as -1 for a removed player and 1 for a kept one.
        targets: what to predict.
        weights: non-negative, not all zero.

    Returns:
        the fit, with the penalty that was chosen.
    """
    n = codes.shape[1]
    features = pair_features(codes)
    share = weights / weights.sum()
    centre, level = share @ features, float(share @ targets)
    root = np.sqrt(weights * (np.count_nonzero(weights) / weights.sum()))
    centred = (features - centre) * root[:, None]
    residual = (targets - level) * root
    rows = int(np.count_nonzero(weights))

    wide = centred.shape[0] <= centred.shape[1]
    gram = centred @ centred.T if wide else centred.T @ centred
    eigenvalues, vectors = scipy.linalg.eigh(gram, driver="evd", check_finite=False)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    positive = eigenvalues > 1e-10 * max(float(eigenvalues[-1]), 1e-300)
    eigenvalues, vectors = eigenvalues[positive], vectors[:, positive]
    # Squared coordinates of the targets along the left singular vectors.
    along = vectors.T @ (residual if wide else centred.T @ residual)
    energy = along**2 if wide else along**2 / eigenvalues

    total = float(residual @ residual)
    best_error, penalty = np.inf, float(PENALTIES[-1])
    for candidate in PENALTIES:
        shrink = eigenvalues / (eigenvalues + candidate)
        left = total - float(energy @ (1.0 - (1.0 - shrink) ** 2))
        freedom = rows - 1.0 - float(shrink.sum())
        if freedom > 0.02 * rows:
            error = max(left, 0.0) / freedom**2
            if error < best_error:
                best_error, penalty = error, float(candidate)
    inside = vectors @ (along / (eigenvalues + penalty))
    coefficients = centred.T @ inside if wide else inside
    pairs = np.zeros((n, n))
    pairs[np.triu_indices(n, 1)] = coefficients[n:]
    return PairwiseRidge(level - float(centre @ coefficients), coefficients[:n], pairs, penalty)


def fit_penalised(
    codes: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
    ridge: float,
) -> PairwiseRidge:
    """Returns the ridge fit with a given penalty, solved in the space of the rows.

    The inner product of all pair features of two rows x, y is ((x'y)² - sum x_i² y_i²) / 2, so
    2,000 pairs of 64 players cost no more than 64 features, and fewer rows than coefficients are
    enough. Codes are centred first; the constant is not penalised.

    Args:
        codes: one row a coalition.
        targets: what to predict.
        weights: positive.
        ridge: penalty, as a share of the mean size of a row's features; positive.
    """
    share = weights / weights.sum()
    middle, mean = share @ codes, float(share @ targets)
    centred = codes - middle
    inner, squares = centred @ centred.T, centred**2
    gram = inner + 0.5 * (inner**2 - squares @ squares.T)
    penalty = ridge * max(float(np.trace(gram)) / len(gram), 1e-12)
    factor = scipy.linalg.cho_factor(gram + np.diag(penalty / (share * len(share))))
    right = np.column_stack([np.ones(len(gram)), targets - mean])
    ones, answer = scipy.linalg.cho_solve(factor, right).T
    dual = answer - answer.sum() / ones.sum() * ones  # the constant is not penalised
    pairs = np.triu(centred.T @ (dual[:, None] * centred), 1)
    both = pairs + pairs.T
    shape = PairwiseRidge(0.0, centred.T @ dual - both @ middle, pairs, penalty)
    return PairwiseRidge(mean - float(share @ shape(codes)), shape.linear, pairs, penalty)
