import numpy as np
import pytest

from sampling import enumerate_all, stream
from surrogate.process.evidence import _parts, _unpack, fit_kernel
from surrogate.process.kernel import Process, covariance
from surrogate.process.likelihood import BLOCK, Likelihood


def product_game(signs):
    gone = (1.0 - signs) / 2.0
    return np.exp(-(gone @ np.array([3.0, 0.5, 0.1, 0.4, 0.0, 0.2, 0.8, 0.3])))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("components", [1, 2])
@pytest.mark.parametrize(("players", "rows"), [(5, 20), (10, BLOCK + 7)])
def test_likelihood_and_its_gradient_are_right(components, ordered, players, rows):
    rng = stream(0, "test evidence")
    signs = np.where(rng.permutation(enumerate_all(players))[:rows], 1.0, -1.0)
    targets, slack = rng.normal(size=rows), rng.uniform(0.5, 2.0, rows)
    parts = _parts(players, components, ordered)
    sizes = [part.at.stop - part.at.start for part in parts.values()]
    theta = np.repeat([part.mean for part in parts.values()], sizes)
    theta = theta + 0.3 * rng.normal(size=len(theta))
    likelihood = Likelihood(signs, targets, slack, components=components, ordered=ordered)

    def value(at):
        return likelihood(_unpack(at, parts))[0]

    total = covariance(_unpack(theta, parts), signs, slack)
    dense = 0.5 * (targets @ np.linalg.solve(total, targets) + np.linalg.slogdet(total)[1])
    np.testing.assert_allclose(value(theta), dense, rtol=1e-10)
    step = 1e-5 * np.eye(len(theta))
    numeric = [(value(theta + one) - value(theta - one)) / 2e-5 for one in step]
    gradient = likelihood(_unpack(theta, parts))[1]
    found = np.concatenate([np.atleast_1d(gradient[name]) for name in parts])
    np.testing.assert_allclose(found, numeric, rtol=1e-3, atol=1e-3)


def test_learns_which_players_matter():
    signs = np.where(enumerate_all(8), 1.0, -1.0)
    values = product_game(signs)
    targets = (values - values.mean()) / values.std()
    chosen = stream(1, "test rows").permutation(256)[:80]
    known, wanted = signs[chosen], targets[chosen]
    kernel = fit_kernel(known, wanted, np.ones(80), iterations=50)
    weights = np.linalg.solve(covariance(kernel, known), wanted)
    process = Process(kernel, known, weights)
    error = process(signs) - targets
    assert 1 - (error**2).mean() > 0.998
    # Players that multiply the utility are told by how it fades without them.
    tilts = kernel.tilts[0]
    assert tilts[0] < tilts[1] - 0.5 < tilts[4]
    assert process(np.zeros((0, 8))).shape == (0,)


def test_learns_that_neighbours_stand_in_for_each_other():
    rng = stream(3, "test order")
    signs = np.where(rng.random((260, 20)) < 0.8, 1.0, -1.0)
    gone = (1.0 - signs) / 2.0
    # How much is gone around each place, and whether neighbours go together, decide.
    around = np.sum([np.roll(gone, step, axis=1)[:, 3:-3] for step in range(-2, 3)], axis=0)
    values = np.exp(-0.1 * (around**2).sum(axis=1))
    targets = (values - values.mean()) / values.std()
    errors = {}
    for ordered in (False, True):
        kernel = fit_kernel(
            signs[:160], targets[:160], np.ones(160), iterations=40, ordered=ordered
        )
        weights = np.linalg.solve(covariance(kernel, signs[:160]), targets[:160])
        found = Process(kernel, signs[:160], weights)(signs[160:])
        errors[ordered] = ((found - targets[160:]) ** 2).mean()
    assert errors[True] < 0.7 * errors[False]


def test_goes_on_from_a_kernel():
    signs = np.where(enumerate_all(6), 1.0, -1.0)
    targets = product_game(np.hstack([signs, signs[:, :2]]))
    for ordered in (False, True):
        first = fit_kernel(signs, targets, np.ones(64), iterations=60, ordered=ordered)
        again = fit_kernel(signs, targets, np.ones(64), iterations=1, ordered=ordered, start=first)
        np.testing.assert_allclose(again.lengths, first.lengths, rtol=0.5)
