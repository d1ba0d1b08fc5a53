"""A process's expectations of coalitions come with honest deviations."""

from __future__ import annotations

import numpy as np
import pytest

from sampling import campaign_design, enumerate_all
from surrogate.process.belief import ProcessLearner
from surrogate.process.kernel import Kernel, covariance, factor


def utilities(rows: np.ndarray) -> np.ndarray:
    gone = (~rows).astype(float)
    weights = np.linspace(0.1, 1.0, rows.shape[1])
    return 3.0 - 2.0 * (gone @ weights) - gone[:, 0] * gone[:, 1]


def test_measured_coalitions_are_known_and_others_within_deviations():
    rows = campaign_design(9, 120, 6, 0).coalitions
    belief = ProcessLearner()(rows, utilities(rows), 0)
    np.testing.assert_allclose(belief.mean(rows), utilities(rows), atol=0.05)
    everything = enumerate_all(9)[1:]
    apart = belief.mean(everything) - utilities(everything)
    deviation = belief.deviation(everything)
    assert (deviation > 0).all()
    assert np.abs(apart / deviation).mean() < 2
    assert np.corrcoef(belief.mean(everything), utilities(everything))[0, 1] > 0.99


def test_what_was_never_seen_is_less_sure():
    rows = campaign_design(9, 60, 2, 0).coalitions
    rows = rows[(~rows).sum(axis=1) <= 2]
    belief = ProcessLearner()(rows, utilities(rows), 0)
    far = enumerate_all(9)
    far = far[(~far).sum(axis=1) == 7]
    assert belief.deviation(far).mean() > 3 * belief.deviation(rows).mean()


def test_a_constant_game_is_no_trouble():
    rows = campaign_design(5, 12, 3, 0).coalitions
    belief = ProcessLearner()(rows, np.full(len(rows), 2.0), 0)
    np.testing.assert_allclose(belief.mean(enumerate_all(5)), 2.0, atol=1e-6)
    assert belief.mean(rows[:0]).shape == (0,)


def test_the_seed_decides():
    rows = campaign_design(12, 700, 6, 0).coalitions
    one, two = (ProcessLearner()(rows, utilities(rows), 3) for _ in range(2))
    assert np.array_equal(one.mean(rows), two.mean(rows))


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e9, 1e200])
def test_the_unit_of_utilities_changes_nothing(unit):
    rows = campaign_design(8, 60, 4, 0).coalitions
    plain, scaled = (ProcessLearner()(rows, one * utilities(rows), 0) for one in (1.0, unit))
    everything = enumerate_all(8)
    np.testing.assert_allclose(scaled.mean(everything) / unit, plain.mean(everything), rtol=1e-3)
    ratio = scaled.deviation(everything) / unit / plain.deviation(everything)
    np.testing.assert_allclose(ratio, 1.0, rtol=0.05)


def test_means_are_the_kernels():
    rows = campaign_design(9, 60, 6, 0).coalitions
    belief = ProcessLearner()(rows, utilities(rows), 0)
    everything = enumerate_all(9)
    own = belief.kernel(np.where(everything, 1.0, -1.0), belief.signs) @ belief.weights
    np.testing.assert_allclose(belief.mean(everything), belief.level + belief.scale * own)


def test_utilities_over_many_orders_of_magnitude_are_learnt():
    rng = np.random.default_rng(0)
    rows = np.unique(rng.random((300, 40)) < np.linspace(0.05, 0.95, 300)[:, None], axis=0)
    belief = ProcessLearner()(rows, -np.exp((~rows).sum(axis=1).astype(float)), 0)
    asked = rng.random((50, 40)) < 0.5
    assert np.isfinite(belief.mean(asked)).all()
    assert np.isfinite(belief.deviation(asked)).all()


def test_a_covariance_that_rounding_makes_singular_is_factored():
    n = 64
    kernel = Kernel(
        lengths=np.full((1, n), 1e-3),
        tilts=np.full((1, n), 1.5),
        variances=np.ones(1),
        slopes=np.full(n, 0.01),
        curve=0.1,
        bend=0.1,
        constant=1.0,
        noise=1e-8,
    )
    share = np.linspace(0, 1, 300)[:, None]
    signs = np.where(np.random.default_rng(0).random((300, n)) < share, 1.0, -1.0)
    total = covariance(kernel, signs)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(total)
    root = factor(kernel, signs)
    spread = np.sqrt(np.diag(total))
    apart = (root @ root.T - total) / np.multiply.outer(spread, spread)
    assert np.abs(apart).max() < 1e-3


def test_a_factor_that_grows_is_that_of_a_fresh_start():
    rows = campaign_design(12, 400, 6, 0).coalitions
    known, asked = utilities(rows), rows[::9]
    learner = ProcessLearner()
    for count in (150, 200, 290, 301, 400):
        grown = learner(rows[:count], known[:count], 0, known[:150])
        fresh = ProcessLearner()(rows[:count], known[:count], 0, known[:150])
        assert np.array_equal(grown.factor, fresh.factor)
        assert np.array_equal(grown.mean(asked), fresh.mean(asked))
    np.testing.assert_allclose(grown.factor, factor(grown.kernel, grown.signs), atol=1e-5)
