"""The published way to value layers: its strata, its surrogate and its sets."""

from __future__ import annotations

import numpy as np
import pytest

from sampling import enumerate_all, stratified
from shapley import FunctionGame
from surrogate.baselines.cooperative_game import (
    AS_PUBLISHED,
    Training,
    cooperative_game,
    published_strata,
    strata_values,
    train_perceptron,
    tuned_training,
)
from tests.support.shapley_games import CountingGame, additive, smooth


def test_strata_are_the_published_ones_scaled():
    assert published_strata(32) == [2, 5, 8, 11, 14]
    assert published_strata(24) == [2, 4, 6, 8, 11]
    assert published_strata(12) == [1, 2, 3, 4, 5]
    assert published_strata(3) == [1, 2]
    with pytest.raises(ValueError, match="at least 2"):
        published_strata(1)


def test_values_are_marginal_means_over_the_masks():
    game, worth = additive(8)
    rows = enumerate_all(8)
    strata = [rows[(~rows).sum(axis=1) == removed] for removed in (1, 3)]
    np.testing.assert_allclose(strata_values(game, strata), worth)


def test_the_rate_moves_the_perceptron():
    """With a rate of 0 it stays what it began with."""
    masks = stratified(6, {2: 15}, 0)
    still = train_perceptron(masks, np.full(15, 0.9), Training(0.0, 300, 0.1), 0)
    moved = train_perceptron(masks, np.full(15, 0.9), Training(0.1, 5, 1.0), 0)
    start = still(masks)
    assert ((start > 0) & (start < 1)).all()
    assert np.ptp(start) > 0
    np.testing.assert_allclose(moved(masks), 0.9, atol=0.02)
    np.testing.assert_array_equal(still(masks[:3]), start[:3])
    again = train_perceptron(masks, np.full(15, 0.9), Training(0.1, 5, 1.0), 0)
    np.testing.assert_array_equal(moved(masks), again(masks))


def test_a_last_batch_that_is_not_full_counts_its_rows_alone():
    """With batches of 4, 6 masks train as two batches of 4 and 2 rows, not as 8 rows."""
    masks = stratified(6, {2: 6}, 1)
    targets = np.linspace(0.2, 0.8, 6)
    fitted = train_perceptron(masks, targets, Training(0.5, 4, 1.0), 0)
    np.testing.assert_allclose(fitted(masks), targets, atol=0.15)


def test_tuning_predicts_better_than_the_published_settings():
    game = smooth(10)
    rows = stratified(10, {1: 10, 2: 45, 3: 120, 4: 200}, 0)
    ratios = np.exp(game(rows) - game(np.ones((1, 10), dtype=bool)))
    training = tuned_training(rows, ratios, 0)
    assert training.batch == 32
    other = stratified(10, {5: 100}, 0)
    truth = np.exp(game(other) - game(np.ones((1, 10), dtype=bool)))
    errors = [
        ((train_perceptron(rows, ratios, one, 0)(other) - truth) ** 2).mean()
        for one in (training, AS_PUBLISHED)
    ]
    assert errors[0] < errors[1]
    assert tuned_training(rows[:4], ratios[:4], 0) == AS_PUBLISHED


def test_sets_are_one_order_cut_anywhere_within_the_budget():
    worth = np.array([0.05, 1.0, 0.9, 0.8, 1.1, 0.01, 1.2, 0.7])
    game = CountingGame(FunctionGame(lambda rows: rows @ worth - worth.sum(), 8))
    found = cooperative_game(game, [1, 2, 4], 120, 0, tuned=True)
    assert found.evaluations == len(game.seen) == 120
    assert set(found.sets[1]) < set(found.sets[2]) < set(found.sets[4])
    assert found.sets[2] == (0, 5)
    assert cooperative_game(game, [1, 2, 4], 120, 0, tuned=True) == found
    plain = cooperative_game(game, [1, 2, 4], 120, 0)
    assert [len(plain.sets[count]) for count in (1, 2, 4)] == [1, 2, 4]
    with pytest.raises(ValueError, match="at least 2"):
        cooperative_game(game, [1], 1, 0)


def test_masks_without_a_perplexity_count_as_infinite():
    def worth(rows):
        return np.where(rows[:, 0], rows[:, 1:].sum(axis=1) * 0.1, np.nan)

    found = cooperative_game(FunctionGame(worth, 6), [1, 5], 60, 0, tuned=True)
    assert 0 not in found.sets[5]
