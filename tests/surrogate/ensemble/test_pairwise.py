import numpy as np
import pytest

from sampling import enumerate_all, stream
from surrogate.ensemble.pairwise import fit_quadratic, pair_features


def quadratic_game(n: int, seed: int):
    rng = stream(seed, "test quadratic")
    linear = rng.normal(size=n)
    pairs = np.triu(rng.normal(size=(n, n)), 1)
    return lambda signs: 0.7 + signs @ linear + ((signs @ pairs) * signs).sum(axis=1), linear, pairs


@pytest.mark.parametrize("rows", [60, 256])
def test_recovers_a_quadratic_game(rows):
    n = 8
    function, linear, pairs = quadratic_game(n, 1)
    signs = np.where(enumerate_all(n), 1.0, -1.0)
    chosen = stream(2, "test rows").permutation(256)[:rows]
    found = fit_quadratic(signs[chosen], function(signs[chosen]), np.ones(rows))
    np.testing.assert_allclose(found.linear, linear, atol=2e-2)
    np.testing.assert_allclose(found.pairs, pairs, atol=2e-2)
    np.testing.assert_allclose(found(signs), function(signs), atol=0.1)


def test_weights_count_rows():
    n = 5
    rng = stream(3, "test weights")
    signs = np.where(enumerate_all(n), 1.0, -1.0)[rng.permutation(32)[:20]]
    targets = rng.normal(size=20)
    weights = np.array([0.0] * 5 + [1.0] * 15)
    weighted = fit_quadratic(signs, targets, weights)
    without = fit_quadratic(signs[5:], targets[5:], np.ones(15))
    np.testing.assert_allclose(weighted(signs), without(signs), atol=1e-8)


def test_noise_alone_is_shrunk():
    rng = stream(4, "test noise")
    signs = rng.choice([-1.0, 1.0], size=(60, 12))
    targets = rng.normal(size=60)
    found = fit_quadratic(signs, targets, np.ones(60))
    assert np.abs(found.pairs).max() < 0.2
    assert found.bias == pytest.approx(targets.mean(), abs=0.3)


def test_pair_features_hold_players_then_pairs():
    features = pair_features(np.array([[1.0, -1.0, -1.0]]))
    np.testing.assert_array_equal(features, [[1, -1, -1, -1, -1, 1]])
