import numpy as np
import pytest

from sampling import stream
from surrogate.model.conformal import Conformal


def of(residuals, places=None, weights=None):
    """Residuals at places on the scale, all at 0 if none are given."""
    places = np.zeros(len(residuals)) if places is None else places
    return Conformal.of(places, places + residuals, weights)


def width(conformal, level, place=0.0):
    return float(conformal.half_widths(level)(np.array([place]))[0])


def test_quantile_is_the_finite_sample_one():
    # 49 residuals 1..49: the 95 % half-width is the 50 * 0.95 = 47.5th smallest.
    assert width(of(np.arange(1.0, 50.0)), 0.95) == pytest.approx(47.5)
    assert width(of(np.arange(1.0, 50.0)), 0.5) == pytest.approx(25.0)


def test_what_is_hard_to_predict_gets_wide_intervals():
    places = np.linspace(0.0, 3.0, 600)
    conformal = of(stream(1, "uneven").normal(size=600) * (0.01 + places), places)
    near, far = width(conformal, 0.95, 0.1), width(conformal, 0.95, 2.9)
    assert near < 0.5
    assert far > 4.0
    # Beyond what was measured it is as wide as at the end.
    assert width(conformal, 0.95, 99.0) == width(conformal, 0.95, 3.0)


def test_coverage_of_new_draws():
    rng = stream(5, "test conformal")
    hits = []
    for _ in range(400):
        conformal = of(rng.normal(size=40))
        hits.append(abs(rng.normal()) <= width(conformal, 0.9))
    assert 0.86 <= np.mean(hits) <= 0.96


@pytest.mark.parametrize(
    ("level", "message"),
    [(0.99, "at least 99"), (1.0, "between 0 and 1"), (0.0, "between 0 and 1")],
)
def test_rejects_levels_that_cannot_be_kept(level, message):
    with pytest.raises(ValueError, match=message):
        of(np.ones(30)).half_widths(level)


def test_nineteen_residuals_are_enough_for_ninety_five_percent():
    assert width(of(np.arange(1.0, 20.0)), 0.95) == 19.0
    with pytest.raises(ValueError, match="at least 19"):
        of(np.ones(18)).half_widths(0.95)


def test_between_two_residuals_it_is_interpolated():
    # (24 + 1) * 0.95 = 23.75: rounded up, the interval would cover 24 of 25.
    assert width(of(np.arange(1.0, 25.0)), 0.95) == pytest.approx(23.75)


def test_weights_count_residuals_as_so_many():
    residuals = np.concatenate([np.arange(1.0, 41.0), np.full(10, 1000.0)])
    weights = np.concatenate([np.ones(40), np.full(10, 1e-9)])
    both = width(of(residuals, weights=weights), 0.9)
    assert both == pytest.approx(width(of(residuals[:40]), 0.9), rel=1e-6)
    assert width(of(residuals, weights=2.0 * weights), 0.9) == pytest.approx(both)
