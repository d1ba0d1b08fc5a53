import numpy as np
import pytest

from sampling import enumerate_all, stream
from surrogate.ensemble.processes import _kernel_groups, fit_targets

SIGNS = np.where(enumerate_all(8), 1.0, -1.0)[stream(4, "test rows").permutation(256)[:120]]
FOLD = np.arange(120) % 4


def game(signs):
    gone = (1.0 - signs) / 2.0
    return np.log1p(gone @ np.array([3.0, 0.5, 0.1, 0.4, 0.05, 0.2, 0.8, 0.3]) ** 1.5)


def fitted(targets, weights=None, **options):
    weights = np.ones(120) if weights is None else weights
    settings = {"points": 2048, "seed": 0} | options
    return fit_targets(SIGNS, targets, weights, FOLD, **settings)


def test_held_out_predictions_do_not_know_their_row():
    targets = game(SIGNS)
    found = fitted(targets)
    assert np.abs(found.held_out - targets).mean() < 0.05
    assert np.abs(found(SIGNS) - targets).mean() < np.abs(found.held_out - targets).mean()
    weights = np.ones(120)
    weights[3] = 0.0
    changed = targets.copy()
    changed[3] += 50.0
    one, two = fitted(targets, weights), fitted(changed, weights)
    np.testing.assert_allclose(one.held_out, two.held_out)


def test_remembers_no_more_points_than_allowed():
    found = fitted(game(SIGNS), points=50)
    assert found.process.points.shape == (50, 8)
    assert np.isfinite(found.held_out).all()


@pytest.mark.parametrize(("rows", "folds", "groups"), [(1000, 5, 2), (450, 5, 3), (120, 4, 4)])
def test_kernels_are_learnt_from_enough_rows(rows, folds, groups):
    assert _kernel_groups(rows, folds) == groups
