import numpy as np
import pytest

from sampling import enumerate_all
from surrogate.ensemble.warp import Warp, fit_warp


@pytest.mark.parametrize("kind", ["log", "raw"])
def test_there_and_back(kind):
    utilities = np.array([-3.0, -2.0, -3.4, -20.0, -1e4])  # the second is better than the whole
    warp = Warp(-3.0, 1.4, kind)
    np.testing.assert_allclose(warp.to_utility(warp.to_scale(utilities)), utilities)
    assert warp.to_scale(utilities)[0] == 0.0
    assert (np.diff(warp.to_scale(np.sort(utilities))) < 0).all()


def test_intervals_are_wider_in_nats_the_worse_a_set_is():
    warp = Warp(-3.0, 1.0, "log")
    lower, upper = warp.around(np.array([-3.5, -13.0]), lambda places: np.full(2, 0.1))
    assert (lower < [-3.5, -13.0]).all()
    assert upper[0] - lower[0] < 0.4
    assert upper[1] - lower[1] > 2.0


def test_unit_is_the_excess_of_the_nearest_quarter():
    rows = enumerate_all(5)
    gone = (~rows).sum(axis=1)
    warp = fit_warp(rows, -gone.astype(float))
    assert warp.whole == 0.0
    assert warp.unit == 2.0
    without = fit_warp(rows[:-1], -gone[:-1].astype(float))
    assert without.whole == -1.0  # the best one stands in for the whole model


def test_a_constant_game_has_a_scale():
    warp = fit_warp(enumerate_all(3), np.full(8, -3.0))
    np.testing.assert_array_equal(warp.to_utility(warp.to_scale(np.full(2, -3.0))), [-3.0, -3.0])
