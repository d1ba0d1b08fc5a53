import numpy as np
import pytest

from sampling import enumerate_all, stream
from surrogate.ensemble.trees import fit_trees

N = 9


def steps(signs):
    """The game breaks where players 0 and 1 are gone, and again where 2 to 4 are."""
    gone = signs < 0
    return -3.0 * (gone[:, 0] & gone[:, 1]) - 2.0 * gone[:, 2:5].all(axis=1) + 0.5 * gone[:, 5]


@pytest.fixture(scope="module")
def signs():
    return np.where(enumerate_all(N), 1.0, -1.0)


def test_learns_steps_from_a_quarter_of_the_rows(signs):
    targets = steps(signs)
    chosen = stream(0, "test trees").permutation(len(signs))
    seen, unseen = chosen[:128], chosen[128:]
    found = fit_trees(signs[seen], targets[seen], np.ones(128))
    error = found(signs[unseen]) - targets[unseen]
    assert (error**2).mean() < 0.02 * targets.var()


def test_tables_hold_what_walking_each_tree_finds(signs):
    found = fit_trees(signs, steps(signs), np.ones(len(signs)), count=5, depth=3)
    expected = np.full(len(signs), found.level)
    for players, leaves in zip(found.players, found.leaves, strict=True):
        for row, sign in enumerate(signs):
            place = sum(1 << k for k, player in enumerate(players) if sign[player] > 0)
            expected[row] += leaves[place]
    np.testing.assert_allclose(found(signs), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("most", [4, 6, 8])
def test_merged_trees_are_the_same_function(signs, most):
    targets = stream(1, "test trees").normal(size=len(signs))
    found = fit_trees(signs, targets, np.ones(len(signs)), count=30)
    merged = found.merged(most)
    assert len(merged.leaves) <= len(found.leaves)
    assert merged.leaves.shape[1] == 1 << most
    np.testing.assert_allclose(merged(signs), found(signs), atol=1e-12)


def test_weights_count_rows(signs):
    rng = stream(2, "test trees")
    targets = rng.normal(size=60)
    rows = signs[rng.permutation(len(signs))[:60]]
    weights = np.repeat([0.0, 1.0], [20, 40])
    one = fit_trees(rows, targets, weights)
    two = fit_trees(rows[20:], targets[20:], np.ones(40))
    np.testing.assert_allclose(one(signs), two(signs), atol=1e-12)
    doubled = fit_trees(rows, targets, 2.0 * weights)
    np.testing.assert_allclose(doubled(signs), one(signs), atol=1e-12)
