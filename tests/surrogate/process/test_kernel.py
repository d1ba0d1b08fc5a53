import numpy as np
import pytest

from sampling import enumerate_all, stream
from surrogate.process.kernel import _evidence, _prior, _unpack, fit_process


def product_game(signs):
    gone = (1.0 - signs) / 2.0
    return np.exp(-(gone @ np.array([3.0, 0.5, 0.1, 0.4, 0.0, 0.2, 0.8, 0.3])))


@pytest.mark.parametrize("components", [1, 2])
def test_gradient_of_the_evidence_is_right(components):
    rng = stream(0, "test evidence")
    signs = rng.choice([-1.0, 1.0], size=(20, 4))
    targets, slack = rng.normal(size=20), rng.uniform(0.5, 2.0, 20)
    theta = _prior(4, components)[0]
    theta = theta + 0.3 * rng.normal(size=len(theta))

    def value(at):
        return _evidence(_unpack(at, 4, components), signs, targets, slack)[0]

    step = 1e-5 * np.eye(len(theta))
    numeric = [(value(theta + one) - value(theta - one)) / 2e-5 for one in step]
    found = _evidence(_unpack(theta, 4, components), signs, targets, slack)[1]
    np.testing.assert_allclose(found, numeric, rtol=1e-3, atol=1e-3)


def test_learns_which_players_matter():
    signs = np.where(enumerate_all(8), 1.0, -1.0)
    values = product_game(signs)
    targets = (values - values.mean()) / values.std()
    chosen = stream(1, "test rows").permutation(256)[:80]
    process = fit_process(
        signs[chosen], targets[chosen], np.ones(80), rng=stream(1, "test process")
    )
    error = process(signs) - targets
    assert 1 - (error**2).mean() > 0.998
    # Players that multiply the utility are told by how it fades without them.
    tilts = process.kernel.tilts[0]
    assert tilts[0] < tilts[1] - 0.5 < tilts[4]


def test_remembers_no_more_points_than_allowed_and_skips_weightless_rows():
    rng = stream(2, "test points")
    signs = rng.choice([-1.0, 1.0], size=(90, 8))
    targets = product_game(signs)
    targets[:10] = 1e6
    weights = np.ones(90)
    weights[:10] = 0.0
    process = fit_process(
        signs, targets, weights, rng=rng, points=50, evidence_rows=40, iterations=10
    )
    assert process.points.shape == (50, 8)
    assert np.abs(process(signs)).max() < 10


def test_empty_batch():
    signs = np.where(enumerate_all(4), 1.0, -1.0)
    process = fit_process(signs, signs[:, 0], np.ones(16), rng=stream(3, "test"), iterations=5)
    assert process(np.zeros((0, 4))).shape == (0,)
    assert process(signs[:1])[0] == pytest.approx(signs[0, 0], abs=0.05)
