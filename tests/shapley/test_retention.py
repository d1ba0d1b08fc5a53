"""Retention of sets, and shares of bounded utilities."""

import numpy as np
import pytest

from shapley import TableGame, exact_values
from shapley.retention import RetentionGame, retention, share_of_whole


def test_retention_is_a_ratio_of_perplexities():
    losses = np.array([2.0, 2.5, 1.9, 40.0, np.inf])
    kept = retention(-losses, -2.0)
    np.testing.assert_allclose(kept[:4], np.exp(2.0) / np.exp(losses[:4]))
    assert kept[0] == 1.0
    assert kept[2] > 1.0
    assert kept[4] == 0.0


def test_values_of_retention_add_up_to_one_minus_that_of_nothing():
    table = -np.random.default_rng(0).gamma(2.0, 1.0, 32)
    values = exact_values(RetentionGame(TableGame(table)))
    assert values.values.sum() == pytest.approx(1.0 - np.exp(table[0] - table[-1]))


@pytest.mark.parametrize("whole", [np.inf, -np.inf, np.nan])
def test_a_whole_model_without_a_finite_loss_has_no_retention(whole):
    with pytest.raises(ValueError, match="finite utility of the whole model"):
        retention(np.array([-1.0]), whole)


def test_utilities_that_are_no_losses_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match="take the raw values"):
        retention(np.array([5000.0, 0.0]), 0.0)


def test_bounded_utilities_are_shares_of_the_whole_models():
    np.testing.assert_allclose(share_of_whole(np.array([0.2, 0.8]), 0.8), [0.25, 1.0])
    with pytest.raises(ValueError, match="above 0"):
        share_of_whole(np.array([0.2]), 0.0)
