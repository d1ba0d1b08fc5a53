"""Closed-form values of a Gaussian process, against enumeration of all coalitions."""

import math

import numpy as np
import pytest

from sampling import enumerate_all
from surrogate.process.kernel import Kernel, covariance
from surrogate.process.posterior import choose, value_posterior
from surrogate.process.quadrature import shapley_covariance, shapley_functional


def weights_of(n):
    """The matrix that takes all utilities to Shapley values, without the empty coalition."""
    rows = enumerate_all(n)
    sizes = rows.sum(axis=1)
    weight = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    inside, outside = weight[np.maximum(sizes - 1, 0)], weight[np.minimum(sizes, n - 1)]
    matrix = np.where(rows, inside[:, None], -outside[:, None]).T
    matrix[:, 0] = 0.0
    return rows, matrix


def some_kernel(n, components, seed=0):
    rng = np.random.default_rng(seed)
    return Kernel(
        lengths=rng.gamma(1.0, 1.0 / n, (components, n)),
        tilts=rng.normal(0.0, 0.3, (components, n)),
        variances=rng.gamma(1.0, 1.0, components),
        slopes=rng.gamma(1.0, 1.0, n),
        curve=0.4,
        bend=0.3,
        constant=0.7,
        noise=0.05,
        fade=0.2 if components == 1 else -0.3,
    )


@pytest.mark.parametrize(("n", "components"), [(1, 1), (2, 2), (3, 1), (7, 2), (8, 1)])
def test_functional_and_covariance_are_those_of_enumeration(n, components):
    kernel = some_kernel(n, components)
    rows, matrix = weights_of(n)
    signs = np.where(rows, 1.0, -1.0)
    every = covariance(kernel, signs)
    np.testing.assert_allclose(
        shapley_functional(kernel, signs)[:, 1:], (matrix @ every)[:, 1:], atol=1e-12
    )
    np.testing.assert_allclose(shapley_covariance(kernel), matrix @ every @ matrix.T, atol=1e-12)


def test_values_of_many_players_add_up_to_the_rise_from_a_closed_form():
    n = 64
    kernel = some_kernel(n, 2)
    rng = np.random.default_rng(1)
    signs = np.where(rng.random((5, n)) < 0.5, 1.0, -1.0)
    everyone = np.ones((1, n))
    # Efficiency: the sum of the values is the utility of all (the empty one is left out).
    expected = kernel(everyone, signs)[0]
    np.testing.assert_allclose(shapley_functional(kernel, signs).sum(axis=0), expected, rtol=1e-9)
    total = shapley_covariance(kernel).sum()
    np.testing.assert_allclose(total, kernel.diagonal(everyone)[0] + kernel.noise, rtol=1e-9)


def posterior_of(n, measured, seed=0):
    kernel = some_kernel(n, 1, seed)
    rows, matrix = weights_of(n)
    signs = np.where(rows, 1.0, -1.0)
    rng = np.random.default_rng(seed)
    known = 1 + rng.permutation(len(rows) - 1)[:measured]
    every = covariance(kernel, signs)
    utilities = np.linalg.cholesky(every) @ rng.normal(size=len(rows))
    return kernel, rows, signs, matrix, known, every, utilities


def test_posterior_is_gaussian_conditioning_on_the_table():
    kernel, _, signs, matrix, known, every, utilities = posterior_of(6, 20)
    posterior = value_posterior(kernel, signs[known], utilities[known])
    gain = every[:, known] @ np.linalg.inv(every[np.ix_(known, known)])
    np.testing.assert_allclose(posterior.mean, matrix @ gain @ utilities[known], atol=1e-9)
    left = every - gain @ every[known]
    np.testing.assert_allclose(posterior.covariance, matrix @ left @ matrix.T, atol=1e-9)
    np.testing.assert_allclose(posterior.weights, matrix @ gain, atol=1e-9)


def test_left_out_errors_are_those_of_leaving_out():
    kernel, _, signs, _, known, every, utilities = posterior_of(5, 12)
    posterior = value_posterior(kernel, signs[known], utilities[known])
    for place in range(3):
        rest = np.delete(known, place)
        inverse = np.linalg.inv(every[np.ix_(rest, rest)])
        across = every[known[place], rest]
        error = utilities[known[place]] - across @ inverse @ utilities[rest]
        spread = every[known[place], known[place]] - across @ inverse @ across
        assert posterior.left_out_errors[place] == pytest.approx(error, abs=1e-9)
        assert posterior.left_out[place] == pytest.approx(error / np.sqrt(spread), abs=1e-9)


def test_choice_is_the_greedy_minimum_of_the_summed_variance():
    kernel, rows, signs, matrix, known, every, utilities = posterior_of(5, 8)
    posterior = value_posterior(kernel, signs[known], utilities[known])
    free = np.setdiff1d(np.arange(1, len(rows)), known)
    chosen = choose(posterior, rows[free], 4)

    def summed(places):
        inverse = np.linalg.inv(every[np.ix_(places, places)])
        left = every - every[:, places] @ inverse @ every[places]
        return np.trace(matrix @ left @ matrix.T)

    taken = list(known)
    for place in chosen:
        rest = [k for k in free if k not in taken]
        best = min(rest, key=lambda k: summed([*taken, k]))
        assert summed([*taken, free[place]]) == pytest.approx(summed([*taken, best]), rel=1e-9)
        taken.append(free[place])
    assert len(set(chosen.tolist())) == 4
