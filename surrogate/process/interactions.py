"""Pairwise interactions of a Gaussian process in closed form, with what is left unknown of them.

The weight of a coalition of ``s`` others in the Shapley interaction index (Grabisch & Roubens 1999)
is the integral of ``t^s (1-t)^(n-2-s)`` over ``t`` in [0, 1], as in
:mod:`surrogate.process.quadrature`: so the index of a product over players is a product at each of
``n / 2`` Gauss-Legendre nodes, and mean and variance of every pair follow without any sampling.

The empty coalition is left out of the process. Its measured utility, often tens of nats from all
else, would put the same large number into every pair; here it counts with what the process expects
of it, as a matter of definition: that expectation adds nothing to the standard errors.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.special import gammaln

from shapley.indices.interactions import Interactions
from shapley.values import Status
from surrogate.process.adaptive import LearnedValues
from surrogate.process.kernel import Kernel
from surrogate.process.posterior import ValuePosterior
from surrogate.process.threads import few_threads

__all__ = ["interaction_posterior", "learned_interactions"]

CHUNK_NUMBERS = 2_000_000
# Multiplications that the variances of all pairs may take.
MOST_WORK = 2e10


def learned_interactions(
    learned: LearnedValues, players: tuple[str, ...], stretch: float = 1.0
) -> Interactions:
    """Returns the pairwise interactions of a fitted process, in units of the utility.

    Args:
        learned: a process and its values; both scales are taken from their covariances.
        players: names.
        stretch: factor on the process's own standard errors, such as the ``stretch`` among the
            diagnostics of the values.

    Raises:
        ValueError: if nothing is left unknown about the values, so that they tell no scale.
    """
    own = float(np.trace(learned.posterior.covariance))
    if not own > 0:
        raise ValueError(
            "learned has values without any variance; use exact_interactions on the measured table"
        )
    scale = np.sqrt(float(np.trace(learned.covariance)) / own)
    mean, errors = interaction_posterior(learned.posterior)
    return Interactions(players, scale * mean, stretch * scale * errors, 0, Status.ESTIMATED)


def interaction_posterior(
    posterior: ValuePosterior,
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """Returns mean and standard deviation of all pairs' interactions, in standardised units.

    Where all measurements would take too long, the standard errors are those of the first of them
    alone, which are larger; the means always rest on all.

    Args:
        posterior: of a standardised game of two players or more, the empty coalition left out.

    Returns:
        symmetric matrices, zero on the diagonal.
    """
    kernel, signs = posterior.kernel, posterior.signs
    n, known = signs.shape[1], len(signs)
    pairs = np.triu_indices(n, k=1)
    if not len(pairs[0]):
        return np.zeros((n, n)), np.zeros((n, n))
    # Of a Cholesky factor, the first rows are the factor of the first measurements.
    rows = min(known, int(np.sqrt(MOST_WORK / len(pairs[0]))))
    # Leave-one-out errors are the weights of the mean over precisions, whose roots go with them.
    errors = posterior.left_out_errors
    weights = np.divide(posterior.left_out**2, errors, out=np.zeros(known), where=errors != 0)
    mean, across = np.zeros(len(pairs[0])), np.empty((rows, len(pairs[0])))
    step = max(1, CHUNK_NUMBERS // (n * n))
    nothing = -np.ones((1, n))
    with few_threads(rows):
        for at in range(0, known, step):
            part = signs[at : at + step]
            found = _smooth(kernel, part) + kernel.rough(part)[:, None, None] * _weights(part)
            found = found[:, pairs[0], pairs[1]]
            mean += weights[at : at + step] @ found
            if at < rows:
                found -= kernel(part, nothing) / (n - 1)
                across[at : at + step] = found[: rows - at]
        left = scipy.linalg.solve_triangular(
            posterior.factor[:rows, :rows], across, lower=True, overwrite_b=True, check_finite=False
        )
    variance = _prior(kernel)[pairs] - (left**2).sum(axis=0)
    return _symmetric(n, mean), _symmetric(n, np.sqrt(np.maximum(variance, 0.0)))


def _smooth(kernel: Kernel, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B n n"]:
    """Returns the covariance of the smooth part's interactions with its utilities."""
    size, n = signs.shape
    here = signs > 0
    total = np.zeros((size, n, n))
    # A function of the size alone gives every pair the bend between its ends; a linear one nothing.
    total += (kernel.by_size(signs, _ends(n)) @ _bend(n))[:, None, None]
    nodes, shares = _rule(n)
    for lengths, tilts, variance in zip(
        kernel.lengths, kernel.tilts, kernel.variances, strict=True
    ):
        one = np.exp(tilts - lengths)
        kept = np.where(here, 1.0, one)
        gone = np.where(here, one, np.exp(2.0 * tilts))
        factor = nodes[:, None, None] * kept + (1.0 - nodes)[:, None, None] * gone
        whole = variance * shares[:, None] * np.exp(np.log(factor).sum(axis=2))
        step = (kept - gone) / factor
        left = (whole[..., None] * step).transpose(1, 2, 0)
        total += left @ step.transpose(1, 0, 2)
    return total


def _prior(kernel: Kernel) -> Float[np.ndarray, "n n"]:
    """Returns the prior variances of the interactions, the empty coalition held at a constant."""
    n = kernel.lengths.shape[1]
    nodes, shares = _rule(n)
    kept, gone = nodes, 1.0 - nodes
    bend, ends = _bend(n), _ends(n)
    total = np.full((n, n), float(bend @ kernel.by_size(ends, ends) @ bend))
    for lengths, tilts, variance in zip(
        kernel.lengths, kernel.tilts, kernel.variances, strict=True
    ):
        one, none = np.exp(tilts - lengths), np.exp(2.0 * tilts)
        factor = (
            np.multiply.outer(kept, kept)[..., None]
            + (np.multiply.outer(kept, gone) + np.multiply.outer(gone, kept))[..., None] * one
            + np.multiply.outer(gone, gone)[..., None] * none
        ).reshape(-1, n)
        whole = np.exp(np.log(factor).sum(axis=1)) * np.multiply.outer(shares, shares).ravel()
        step = (1.0 - 2.0 * one + none) / factor
        total += variance * (step.T @ (whole[:, None] * step))
    nothing, share = -np.ones((1, n)), 1.0 / (n - 1)
    total -= 2.0 * share * _smooth(kernel, nothing)[0]
    total += share**2 * float(kernel.diagonal(nothing)[0])
    weight = np.exp(_log_weight(n, np.arange(n - 1)))
    # Of each size as many coalitions as its weight goes into 1 / (n - 1), each in four places.
    rough = kernel.noise * np.exp(2.0 * kernel.fade * (n - np.arange(n + 1.0)))  # by size
    four = rough[: n - 1] + 2.0 * rough[1:n] + rough[2:]
    return total + share * float(weight @ four) - share**2 * rough[0]


def _weights(signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "B n n"]:
    """Returns the weight of each coalition in each pair's interaction."""
    n, sizes = signs.shape[1], (signs > 0).sum(axis=1)
    by_members = [
        np.exp(_log_weight(n, np.clip(sizes - members, 0, n - 2))) for members in (0, 1, 2)
    ]
    none, one, both = (weight[:, None, None] for weight in by_members)
    first, second = signs[:, :, None] > 0, signs[:, None, :] > 0
    return np.where(first & second, both, np.where(first | second, -one, none))


def _rule(n: int) -> tuple[Float[np.ndarray, "q"], Float[np.ndarray, "q"]]:
    """Returns nodes and weights that integrate polynomials of degree ``n - 2`` over [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, n // 2))
    return (nodes + 1.0) / 2.0, weights / 2.0


def _log_weight(n: int, size: np.ndarray) -> np.ndarray:
    """Returns the logarithm of the index's weight ``s! (n-2-s)! / (n-1)!``."""
    return gammaln(size + 1.0) + gammaln(n - 1.0 - size) - gammaln(float(n))


def _ends(n: int) -> Float[np.ndarray, "4 n"]:
    """Signs of coalitions of 0, 1, n - 1 and n players."""
    return np.where(np.arange(n) < np.array([0, 1, n - 1, n])[:, None], 1.0, -1.0)


def _bend(n: int) -> Float[np.ndarray, "4"]:
    """Weights of functions of those sizes in an interaction: the mean second difference."""
    return np.array([1.0, -1.0, -1.0, 1.0]) / (n - 1)


def _symmetric(n: int, upper: Float[np.ndarray, "P"]) -> Float[np.ndarray, "n n"]:
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n, k=1)] = upper
    return matrix + matrix.T
