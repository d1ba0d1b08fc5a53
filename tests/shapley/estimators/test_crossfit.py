from __future__ import annotations

import numpy as np
import pytest

from sampling import keys
from shapley import (
    CrossFitted,
    FunctionGame,
    LeverageRegression,
    advance,
    estimate,
    exact_values,
    start,
    surrogate_values,
)
from tests.support.shapley_games import random_table, smooth

RUNS = 300


def with_pairs(rows, utilities, seed):
    """Ridge regression on players and pairs, enough of them to remember what it was fitted to."""
    first, second = np.triu_indices(rows.shape[1], 1)

    def columns(batch):
        signs = np.where(batch, 1.0, -1.0)
        return np.concatenate(
            [np.ones((len(batch), 1)), signs, signs[:, first] * signs[:, second]], axis=1
        )

    x = columns(rows)
    weights = np.linalg.solve(x.T @ x + 0.05 * np.eye(x.shape[1]), x.T @ utilities)
    return lambda batch: columns(batch) @ weights


def refitted(game, budget, seed):
    """The biased way: one fit, corrected on the very coalitions that it was fitted to."""
    n = len(game.players)
    state = advance(CrossFitted(with_pairs), start(game.players, seed), game, budget)
    model = FunctionGame(with_pairs(state.coalitions, state.utilities, seed), n)
    sizes = state.coalitions.sum(axis=1)
    share = np.bincount(sizes, minlength=n + 1)[sizes]
    rest = np.maximum(n - sizes, 1)[:, None]
    signs = np.where(state.coalitions, 1 / np.maximum(sizes, 1)[:, None], -1 / rest)
    residual = state.utilities - model(state.coalitions)
    values = surrogate_values(model, n).values + (residual / share) @ signs
    return values + (state.utilities[0] - state.utilities[1] - values.sum()) / n


def farthest(runs, truth):
    """The greatest distance of a mean from the truth, in its standard errors."""
    return np.abs((runs.mean(axis=0) - truth) / (runs.std(axis=0) / np.sqrt(len(runs)))).max()


def test_means_over_designs_are_the_values_and_the_errors_are_right():
    game = random_table(5, 3)
    truth = exact_values(game).values
    runs = [estimate(CrossFitted(with_pairs, folds=3), game, 18, seed=s) for s in range(RUNS)]
    values = np.stack([run.values for run in runs])
    assert farthest(values, truth) < 3.5
    stated = np.sqrt(np.mean([run.standard_errors**2 for run in runs], axis=0))
    np.testing.assert_allclose(stated, values.std(axis=0), rtol=0.25)
    covered = np.mean([(run.lower <= truth) & (truth <= run.upper) for run in runs])
    assert 0.92 < covered < 0.995
    # The same test finds the bias of fitting and correcting on the same coalitions.
    assert farthest(np.stack([refitted(game, 18, s) for s in range(RUNS)]), truth) > 6


def test_no_learner_sees_the_fold_that_corrects_it():
    game, seen = smooth(8), []

    def watching(rows, utilities, seed):
        np.testing.assert_array_equal(game(rows), utilities)
        seen.append((set(keys(rows)), seed))
        return with_pairs(rows, utilities, seed)

    state = advance(CrossFitted(watching), start(game.players, 1), game, 100)
    first = CrossFitted(watching).result(state)
    assert first.diagnostics["folds"] == len(seen) == 5
    everything = set(keys(state.coalitions))
    folds = [everything - rows for rows, _ in seen]
    assert sum(len(fold) for fold in folds) == len(set().union(*folds)) == 98
    assert len({seed for _, seed in seen}) == 5


def test_a_good_learner_beats_regression():
    errors = {}
    for name, estimator in (("fit", CrossFitted(with_pairs)), ("plain", LeverageRegression())):
        found = []
        for seed in range(8):
            game = smooth(11, seed % 4)
            truth = exact_values(game).values
            values = estimate(estimator, game, 400, seed).values
            found.append(((values - truth) ** 2).sum() / (truth**2).sum())
        errors[name] = np.mean(found)
    assert errors["fit"] < 5e-3
    assert errors["fit"] < 3 * errors["plain"]


def test_many_players_are_sampled():
    game = smooth(24)
    found = estimate(CrossFitted(with_pairs, calls=20_000), game, 900, seed=0)
    plain = estimate(LeverageRegression(), game, 4_000, seed=0)
    assert np.abs(found.values - plain.values).max() < 5 * found.standard_errors.max()
    assert found.diagnostics["out_of_fold_r2"] > 0.9
    assert np.isfinite(found.standard_errors).all()


def test_bad_learners_are_named():
    game = smooth(6)
    with pytest.raises(ValueError, match="not finite"):
        estimate(CrossFitted(lambda *_: lambda rows: np.full(len(rows), np.nan)), game, 30)
    with pytest.raises(ValueError, match="one utility a row"):
        estimate(CrossFitted(lambda *_: lambda rows: np.zeros(3)), game, 30)
    with pytest.raises(ValueError, match="folds must be at least 2"):
        CrossFitted(with_pairs, folds=1)
