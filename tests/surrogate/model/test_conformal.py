import numpy as np
import pytest

from sampling import stream
from surrogate.model.conformal import Conformal


def test_quantile_is_the_finite_sample_one():
    # 99 residuals 1..99: the 95 % half-width is the ceil(100 * 0.95) = 95th smallest.
    conformal = Conformal.of(np.arange(1.0, 100.0), np.zeros(99, int), 4)
    np.testing.assert_array_equal(conformal.half_widths(0.95), np.full(5, 95.0))
    assert conformal.half_widths(0.5)[0] == 50.0


def test_sparse_strata_take_in_their_neighbours():
    residuals = np.concatenate([np.full(60, 1.0), np.full(5, 7.0), np.full(60, 3.0)])
    removed = np.concatenate([np.full(60, 1), np.full(5, 2), np.full(60, 3)])
    widths = Conformal.of(residuals, removed, 4).half_widths(0.9)
    # 2 removed: its five and both neighbours', 125 residuals, 114th smallest.
    np.testing.assert_array_equal(widths, [1.0, 1.0, 3.0, 3.0, 3.0])


def test_coverage_of_new_draws():
    rng = stream(5, "test conformal")
    hits = []
    for _ in range(400):
        conformal = Conformal.of(rng.normal(size=40), np.zeros(40, int), 1)
        hits.append(abs(rng.normal()) <= conformal.half_widths(0.9)[0])
    assert 0.86 <= np.mean(hits) <= 0.96


@pytest.mark.parametrize(
    ("level", "message"),
    [(0.99, "at least 99"), (1.0, "between 0 and 1"), (0.0, "between 0 and 1")],
)
def test_rejects_levels_that_cannot_be_kept(level, message):
    conformal = Conformal.of(np.ones(30), np.zeros(30, int), 2)
    with pytest.raises(ValueError, match=message):
        conformal.half_widths(level)


def test_nineteen_residuals_are_enough_for_ninety_five_percent():
    assert Conformal.of(np.arange(1.0, 20.0), np.zeros(19, int), 1).half_widths(0.95)[0] == 19.0
    with pytest.raises(ValueError, match="at least 19"):
        Conformal.of(np.ones(18), np.zeros(18, int), 1).half_widths(0.95)


def test_between_two_residuals_it_is_interpolated():
    # (24 + 1) * 0.95 = 23.75: rounded up, the interval would cover 24 of 25.
    conformal = Conformal.of(np.arange(1.0, 25.0), np.zeros(24, int), 1)
    assert conformal.half_widths(0.95)[0] == pytest.approx(23.75)


def test_weights_count_residuals_as_so_many():
    residuals = np.concatenate([np.arange(1.0, 50.0), np.full(50, 1000.0)])
    weights = np.concatenate([np.ones(49), np.full(50, 1e-9)])
    both = Conformal.of(residuals, np.zeros(99, int), 1, weights).half_widths(0.9)
    alone = Conformal.of(residuals[:49], np.zeros(49, int), 1).half_widths(0.9)
    np.testing.assert_allclose(both, alone, rtol=1e-6)
    doubled = Conformal.of(residuals, np.zeros(99, int), 1, 2.0 * weights).half_widths(0.9)
    np.testing.assert_allclose(doubled, both)
