import numpy as np
import pytest

from sampling import enumerate_all, stream
from shapley.regression.pairwise_ridge import fit_penalised, fit_validated, pair_features


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
    found = fit_validated(signs[chosen], function(signs[chosen]), np.ones(rows))
    np.testing.assert_allclose(found.linear, linear, atol=2e-2)
    np.testing.assert_allclose(found.pairs, pairs, atol=2e-2)
    np.testing.assert_allclose(found(signs), function(signs), atol=0.1)


def test_weights_count_rows():
    n = 5
    rng = stream(3, "test weights")
    signs = np.where(enumerate_all(n), 1.0, -1.0)[rng.permutation(32)[:20]]
    targets = rng.normal(size=20)
    weights = np.array([0.0] * 5 + [1.0] * 15)
    weighted = fit_validated(signs, targets, weights)
    without = fit_validated(signs[5:], targets[5:], np.ones(15))
    np.testing.assert_allclose(weighted(signs), without(signs), atol=1e-8)


def test_noise_alone_is_shrunk():
    rng = stream(4, "test noise")
    signs = rng.choice([-1.0, 1.0], size=(60, 12))
    targets = rng.normal(size=60)
    found = fit_validated(signs, targets, np.ones(60))
    assert np.abs(found.pairs).max() < 0.2
    assert found.bias == pytest.approx(targets.mean(), abs=0.3)


def test_pair_features_hold_players_then_pairs():
    features = pair_features(np.array([[1.0, -1.0, -1.0]]))
    np.testing.assert_array_equal(features, [[1, -1, -1, -1, -1, 1]])


def test_both_fits_keep_to_numbers_found_before():
    rng = np.random.default_rng(3)
    rows = rng.random((40, 7)) < 0.6
    utilities = rng.normal(size=40) + rows @ rng.normal(size=7)
    weights = rng.uniform(0.5, 2, 40)
    gone = fit_penalised((~rows).astype(float), utilities, weights, 1e-6)
    np.testing.assert_allclose(gone.bias, -0.5082193782124125, 1e-9)
    np.testing.assert_allclose(gone.linear[:2], [0.3876093050135625, 0.8780171152528582], 1e-9)
    np.testing.assert_allclose(gone.pairs[0, 1:3], [1.749871367771291, -0.5901454099049291], 1e-9)
    signs = fit_validated(np.where(rows, 1.0, -1.0), utilities, weights)
    assert signs.penalty == pytest.approx(31.622776601683793)
    np.testing.assert_allclose(signs.bias, -0.4233738825609166, 1e-9)
    np.testing.assert_allclose(signs.linear[:2], [0.04403543573940079, -0.2801143814511636], 1e-9)
    np.testing.assert_allclose(
        signs.pairs[0, 1:3], [0.12809252840317592, -0.09284059834329672], 1e-9
    )
