"""Interactions of a process in closed form are those of its posterior mean, with honest errors."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.support.synthetic_tables import synthetic_table
from sampling import enumerate_all
from shapley import Status, TableGame, exact_interactions
from shapley.estimator import advance, start
from surrogate.process import interactions
from surrogate.process.adaptive import AdaptiveValues
from surrogate.process.interactions import interaction_posterior, learned_interactions
from surrogate.process.kernel import Kernel, covariance
from surrogate.process.posterior import value_posterior

N = 5


def kernel(noise: float = 1e-3) -> Kernel:
    return Kernel(
        lengths=np.array([np.linspace(0.1, 0.6, N), np.linspace(0.3, 0.05, N)]),
        tilts=np.array([np.linspace(-0.1, 0.3, N), np.zeros(N)]),
        variances=np.array([0.7, 0.2]),
        slopes=np.linspace(0.05, 0.2, N),
        curve=0.3,
        bend=0.4,
        constant=0.5,
        noise=noise,
    )


def measured(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    rows = enumerate_all(N)[1:][rng.permutation((1 << N) - 1)[:count]]
    return np.where(rows, 1.0, -1.0), rng.normal(size=count)


@pytest.mark.parametrize("count", [1, 12, 31])
def test_mean_and_deviation_are_those_of_all_coalitions(count):
    prior, (signs, targets) = kernel(), measured(count)
    mean, errors = interaction_posterior(value_posterior(prior, signs, targets))
    every = np.where(enumerate_all(N), 1.0, -1.0)
    index = np.stack([exact_interactions(row) for row in np.eye(1 << N)], axis=-1)
    # What is measured has its noise in the game; the empty coalition is what the process expects.
    same = (every[:, None] == signs).all(axis=2)
    across = prior(every, signs) + prior.noise * same
    inverse = np.linalg.inv(covariance(prior, signs))
    expected = across @ inverse @ targets
    np.testing.assert_allclose(mean, index @ expected, atol=1e-9)
    left = covariance(prior, every) - across @ inverse @ across.T
    inner = index[..., 1:]
    variance = np.einsum("ijs,st,ijt->ij", inner, left[1:, 1:], inner)
    np.testing.assert_allclose(errors**2, np.maximum(variance, 0), atol=1e-9)
    assert (np.diag(errors) == 0).all()


def test_fewer_measurements_only_widen_the_errors(monkeypatch):
    posterior = value_posterior(kernel(), *measured(25))
    mean, errors = interaction_posterior(posterior)
    monkeypatch.setattr(interactions, "MOST_WORK", 10 * 10.0**2)
    rougher, wider = interaction_posterior(posterior)
    np.testing.assert_allclose(rougher, mean, atol=1e-12)
    assert (wider >= errors - 1e-12).all()
    assert wider.sum() > 1.01 * errors.sum()


def test_a_run_s_interactions_hold_the_true_ones():
    table = synthetic_table("smooth")
    game, n = TableGame(table), 12
    method = AdaptiveValues()
    state = advance(method, start(game.players), game, 20 * n)
    learned = method.learn(state)
    found = learned_interactions(learned, game.players)
    assert found.status is Status.ESTIMATED
    assert found.players == game.players
    upper = np.triu_indices(n, k=1)
    apart = np.abs(found.values - exact_interactions(table))[upper]
    errors = found.standard_errors[upper]
    assert (errors > 0).all()
    assert apart.max() < 0.1 * np.abs(found.values).max()
    assert (apart <= 3 * errors).mean() > 0.9
