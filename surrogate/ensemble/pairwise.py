"""Ridge regression on players and pairs of players, in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from jaxtyping import Float

__all__ = ["Quadratic", "fit_quadratic", "pair_features"]

PENALTIES = np.logspace(-4, 5, 37)


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The function ``bias + z'linear + sum_{i<j} pairs_ij z_i z_j`` of signs ``z`` in {-1, 1}.

    Attributes:
        bias: constant term.
        linear: one coefficient a player.
        pairs: one coefficient a pair, strictly upper triangular.
        penalty: the ridge penalty that generalised cross-validation chose.
    """

    bias: float
    linear: Float[np.ndarray, "n"]
    pairs: Float[np.ndarray, "n n"]
    penalty: float

    def __call__(self, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B"]:
        """Returns one value a row."""
        return self.bias + signs @ self.linear + ((signs @ self.pairs) * signs).sum(axis=1)


def pair_features(signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B p"]:
    """Returns the signs and the products of all pairs, ``p = n + n (n - 1) / 2`` columns."""
    first, second = np.triu_indices(signs.shape[1], 1)
    return np.hstack([signs, signs[:, first] * signs[:, second]])


def fit_quadratic(
    signs: Float[np.ndarray, "m n"],
    targets: Float[np.ndarray, "m"],
    weights: Float[np.ndarray, "m"],
) -> Quadratic:
    """Returns the ridge fit whose penalty has the least generalised cross-validation error.

    Rows are weighted, the constant is not penalised. The smaller of the two Gram matrices is
    decomposed once for all penalties (Golub, Heath & Wahba 1979).

    Args:
        signs: -1 for a removed player, 1 for a kept one.
        targets: what to predict.
        weights: non-negative, not all zero.
    """
    n = signs.shape[1]
    features = pair_features(signs)
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
    return Quadratic(level - float(centre @ coefficients), coefficients[:n], pairs, penalty)
