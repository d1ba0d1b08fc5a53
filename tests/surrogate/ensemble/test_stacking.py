import numpy as np
import pytest

from sampling import stream
from surrogate.ensemble.stacking import PULL, stacking_weights


@pytest.fixture
def truth():
    return stream(0, "test stacking").standard_t(2, size=400)


def noisy(truth, spread, name):
    return truth + spread * stream(1, name).normal(size=len(truth))


def test_independent_errors_are_weighted_by_their_precision(truth):
    held_out = np.stack([noisy(truth, 1.0, "a"), noisy(truth, 2.0, "b")], axis=1)
    found = stacking_weights(held_out, truth, np.ones(400))
    assert found.sum() == pytest.approx(1.0)
    # 1 / 1 against 1 / 4, both pulled towards the mean.
    own = 1.0 / (np.array([1.0, 4.0]) + PULL)
    np.testing.assert_allclose(found, own / own.sum(), atol=0.06)


def test_only_rows_that_count_decide(truth):
    held_out = np.stack([noisy(truth, s, f"{s}") for s in (1.5, 1.0)], axis=1)
    held_out[:200, 0] = truth[:200]
    found = stacking_weights(held_out, truth, np.repeat([1.0, 0.0], 200))
    assert found[0] > 0.9


def test_a_perfect_or_useless_learner(truth):
    held_out = np.stack([truth, noisy(truth, 1.0, "a")], axis=1)
    np.testing.assert_array_equal(stacking_weights(held_out, truth, np.ones(400)), [1.0, 0.0])
    held_out = np.stack([noisy(truth, 0.1, "a"), np.full(400, 50.0)], axis=1)
    found = stacking_weights(held_out, truth, np.ones(400))
    np.testing.assert_array_equal(found, [1.0, 0.0])
