"""Shapley values of a Gaussian process in closed form, for any number of players.

The weight of a coalition of ``s`` others in a Shapley value is the integral of
``t^s (1-t)^(n-1-s)`` over ``t`` in [0, 1]: every other player is kept with probability ``t``
(Owen 1972). Under a product over players the expectation is a product too, and Gauss-Legendre
quadrature with ``n / 2`` nodes integrates the resulting polynomial exactly. So the values of the
process, their covariance and their covariance with any coalition's utility cost ``O(n^2)``
each, however many coalitions there are (Bayesian quadrature, O'Hagan 1991).

The empty coalition is left out of the process: it is measured and counts as it is.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln

from surrogate.process.kernel import Kernel

__all__ = ["shapley_covariance", "shapley_functional"]

CHUNK = 1024


def shapley_functional(kernel: Kernel, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "n B"]:
    """Returns the covariance of each player's value with the utility of each coalition.

    The value is the sum over all coalitions but the empty one, with Shapley weights.
    """
    parts = [_functional(kernel, signs[at : at + CHUNK]) for at in range(0, len(signs), CHUNK)]
    return np.concatenate(parts, axis=1)


def shapley_covariance(kernel: Kernel) -> Float[np.ndarray, "n n"]:
    """Returns the prior covariance of the players' values (sums over all but the empty one)."""
    n = kernel.lengths.shape[1]
    nodes, weights = _rule(n)
    kept, gone = nodes, 1.0 - nodes
    total = np.diag(4.0 * kernel.slopes)
    total += 2.0 * kernel.curve * (1.0 - np.exp(-kernel.bend * n)) / n**2
    for lengths, tilts, variance in zip(
        kernel.lengths, kernel.tilts, kernel.variances, strict=True
    ):
        both, one, none = 1.0, np.exp(tilts - lengths), np.exp(2.0 * tilts)
        # Expectation over both coalitions of each player's factor, at each pair of nodes.
        factor = (
            np.multiply.outer(both * kept, kept)[..., None]
            + (np.multiply.outer(kept, gone) + np.multiply.outer(gone, kept))[..., None] * one
            + np.multiply.outer(gone, gone)[..., None] * none
        )
        whole = np.exp(np.log(factor).sum(axis=2)) * np.multiply.outer(weights, weights)
        step = kept[:, None] * (both - one) + gone[:, None] * (one - none)
        first = (step[None, :, :] / factor).reshape(-1, n)
        second = (step[:, None, :] / factor).reshape(-1, n)
        across = (first * whole.reshape(-1, 1)).T @ second
        across = (across + across.T) / 2
        own = (whole[..., None] / factor).sum(axis=(0, 1)) * (both - 2.0 * one + none)
        np.fill_diagonal(across, own)
        total += variance * across
    nothing = -np.ones((1, n))
    at_empty = _smooth_functional(kernel, nothing)[:, 0]
    total += (at_empty[:, None] + at_empty[None, :]) / n + kernel.diagonal(nothing)[0] / n**2
    return total + kernel.noise * _weight_products(n, kernel.fade)


def _functional(kernel: Kernel, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "n B"]:
    n = signs.shape[1]
    found = _smooth_functional(kernel, signs)
    found += kernel(-np.ones((1, n)), signs) / n
    sizes = (signs > 0).sum(axis=1)
    inside = np.exp(_log_weight(n, np.maximum(sizes - 1, 0)))
    outside = np.exp(_log_weight(n, np.minimum(sizes, n - 1)))
    own = np.where(signs > 0, inside[:, None], -outside[:, None])
    own[sizes == 0] = 0.0
    return found + kernel.rough(signs) * own.T


def _smooth_functional(kernel: Kernel, signs: Float[np.ndarray, "B n"]) -> Float[np.ndarray, "n B"]:
    """Returns the functional of the smooth part over all coalitions, the empty one included."""
    n = signs.shape[1]
    nodes, weights = _rule(n)
    here = signs > 0
    total = 2.0 * kernel.slopes * signs
    # A function of the size alone adds the same to each value: its rise from none to all.
    ends = np.stack([np.ones(n), -np.ones(n)])
    rise = kernel.by_size(signs, ends)
    total += ((rise[:, 0] - rise[:, 1]) / n)[:, None]
    for lengths, tilts, variance in zip(
        kernel.lengths, kernel.tilts, kernel.variances, strict=True
    ):
        one = np.exp(tilts - lengths)
        kept = np.where(here, 1.0, one)
        gone = np.where(here, one, np.exp(2.0 * tilts))
        inner = np.zeros_like(total)
        for node, weight in zip(nodes, weights, strict=True):
            factor = node * kept + (1.0 - node) * gone
            whole = weight * np.exp(np.log(factor).sum(axis=1))
            inner += whole[:, None] / factor
        total += variance * inner * (kept - gone)
    return total.T


def _rule(n: int) -> tuple[Float[np.ndarray, "q"], Float[np.ndarray, "q"]]:
    nodes, weights = np.polynomial.legendre.leggauss(max(1, -(-n // 2)))
    return (nodes + 1.0) / 2.0, weights / 2.0


def _log_weight(n: int, size: np.ndarray) -> np.ndarray:
    """Returns the logarithm of the Shapley weight ``s! (n-1-s)! / n!``."""
    return gammaln(size + 1.0) + gammaln(n - size) - gammaln(n + 1.0)


def _weight_products(n: int, fade: float) -> Float[np.ndarray, "n n"]:
    """Returns the sum over all but the empty coalition of the products of players' weights.

    A coalition counts ``exp(2 fade)`` more with each absent player.
    """
    sizes = np.arange(n)
    weight, growth = _log_weight(n, sizes), 2.0 * fade * (n - np.arange(n + 1.0))
    choose = gammaln(n) - gammaln(sizes + 1.0) - gammaln(n - sizes)
    each = choose + 2.0 * weight
    own = np.exp(each + growth[1:]).sum() + np.exp(each + growth[:-1]).sum()
    if n == 1:
        return np.array([[own - np.exp(growth[0])]])
    fewer = sizes[:-1]
    others = gammaln(n - 1) - gammaln(fewer + 1.0) - gammaln(n - 1 - fewer)
    with_both = np.exp(others + 2.0 * weight[1:] + growth[2:]).sum()
    with_neither = np.exp(others + 2.0 * weight[:-1] + growth[:-2]).sum()
    with_one = 2.0 * np.exp(others + weight[1:] + weight[:-1] + growth[1:-1]).sum()
    products = np.full((n, n), with_both + with_neither - with_one)
    np.fill_diagonal(products, own)
    return products - np.exp(growth[0]) / n**2
