"""What the estimators of sampled coalitions promise beyond the contract, whichever it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shapley import (
    CrossFitted,
    Exact,
    FunctionGame,
    LeverageRegression,
    Permutation,
    Stratified,
    advance,
    estimate,
    exact_values,
    start,
)
from tests.support.contracts.estimator import stored
from tests.support.learners import ridge
from tests.support.shapley_games import (
    CountingGame,
    additive,
    glove,
    majority,
    random_table,
    smooth,
)

SAMPLING = [
    Permutation(antithetic=True),
    Permutation(antithetic=False),
    Stratified("equal"),
    Stratified("neyman"),
    LeverageRegression(),
    CrossFitted(ridge, folds=3),
]
NESTED = [Exact(), *SAMPLING]


def ids(estimator):
    return f"{estimator.name}-{getattr(estimator, 'antithetic', '')}"


@pytest.mark.parametrize("estimator", NESTED, ids=ids)
@settings(max_examples=15, deadline=None)
@given(
    n=st.integers(1, 7),
    steps=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    seed=st.integers(0, 5),
)
def test_steps_and_stops_change_nothing(estimator, n, steps, seed):
    game = CountingGame(random_table(n, 1))
    budget = sum(steps)
    at_once = advance(estimator, start(game.players, seed), game, budget)
    state = start(game.players, seed)
    for step in steps:
        state = stored(advance(estimator, state, game, step))
    assert state.spent == at_once.spent == min(budget, 2**n)
    if state.spent < 2**n:  # whoever measures everything may do so in any order
        np.testing.assert_array_equal(state.coalitions, at_once.coalitions)
        np.testing.assert_array_equal(state.utilities, at_once.utilities)
    try:
        whole = estimator.result(at_once)
    except ValueError as error:
        with pytest.raises(ValueError, match=str(error)[:20]):
            estimator.result(state)
        return
    np.testing.assert_array_equal(estimator.result(state).values, whole.values)
    np.testing.assert_array_equal(estimator.result(state).standard_errors, whole.standard_errors)


@pytest.mark.parametrize("estimator", SAMPLING, ids=ids)
def test_the_seed_decides(estimator):
    game = random_table(8, 0)
    small, other = (advance(estimator, start(game.players, seed), game, 70) for seed in (4, 5))
    assert not np.array_equal(other.coalitions, small.coalitions)


@pytest.mark.parametrize("estimator", SAMPLING, ids=ids)
@settings(max_examples=10, deadline=None)
@given(budget=st.integers(16, 120), seed=st.integers(0, 50))
def test_values_add_up_and_follow_the_scale(estimator, budget, seed):
    game = smooth(7, seed % 3)
    result = estimate(estimator, game, budget, seed)
    assert result.spent == result.budget == budget
    ends = game(np.array([[True] * 7, [False] * 7]))
    assert result.values.sum() == pytest.approx(ends[0] - ends[1])
    scaled = FunctionGame(lambda rows: 3.0 * game(rows) - 5.0, game.players)
    other = estimate(estimator, scaled, budget, seed)
    np.testing.assert_allclose(other.values, 3.0 * result.values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("estimator", [Permutation(), LeverageRegression(), CrossFitted(ridge)])
def test_additive_games_are_hit(estimator):
    game, worth = additive(9)
    found = estimate(estimator, game, 90, seed=2).values
    slack = 0.1 if isinstance(estimator, CrossFitted) else 1e-9
    np.testing.assert_allclose(found, worth, atol=slack)


def test_known_values_of_small_games():
    np.testing.assert_allclose(estimate(Exact(), glove(), 8).values, [2 / 3, 1 / 6, 1 / 6])
    # All coalitions of a size have the same utility: nothing is left to chance.
    for allocation in ("equal", "neyman"):
        found = estimate(Stratified(allocation), majority(9), 100)
        np.testing.assert_allclose(found.values, np.full(9, 1 / 9), atol=1e-12)


@pytest.mark.parametrize("estimator", SAMPLING, ids=ids)
def test_intervals_cover(estimator):
    inside = []
    for seed in range(16):
        game = smooth(9, seed % 4)
        found = estimate(estimator, game, 160, seed)
        truth = exact_values(game).values
        inside.append((found.lower <= truth) & (truth <= found.upper))
    assert np.mean(inside) > 0.86


def test_neyman_counts_follow_the_spread():
    # Utilities differ only among coalitions of 2 to 4 players, where chance is loud.
    noise = random_table(10, 5)

    def loud(rows):
        sizes = rows.sum(axis=1)
        return sizes + np.where((sizes >= 2) & (sizes <= 4), 5.0, 0.01) * noise(rows)

    game = FunctionGame(loud, 10)
    truth = exact_values(game).values
    spend = {}
    errors = {}
    for allocation in ("equal", "neyman"):
        runs = [
            advance(Stratified(allocation), start(game.players, s), game, 260) for s in range(8)
        ]
        spend[allocation] = np.bincount(runs[0].coalitions.sum(axis=1), minlength=11)
        found = [Stratified(allocation).result(run).values for run in runs]
        errors[allocation] = np.mean([((values - truth) ** 2).sum() for values in found])
    assert spend["neyman"][2:5].sum() > 1.5 * spend["equal"][2:5].sum()
    assert (spend["neyman"][1:10] >= 8).all()
    assert errors["neyman"] < 0.7 * errors["equal"]


def test_the_pilot_meets_every_player_on_both_sides():
    game = smooth(12, 2)
    rows = advance(Stratified("neyman"), start(game.players), game, 128).coalitions
    sizes = rows.sum(axis=1)
    assert (sizes == 1).sum() == (sizes == 11).sum() == 12
    for size in range(1, 12):
        here = rows[sizes == size]
        assert here.any(axis=0).mean() > 0.9
        assert (~here).any(axis=0).mean() > 0.9


def test_what_cannot_be_said_is_named():
    game = random_table(6, 0)
    with pytest.raises(ValueError, match=r"all 2\^n = 64 coalitions"):
        estimate(Exact(), game, 63)
    with pytest.raises(ValueError, match="at most 22"):
        Exact().propose(start([f"p{i}" for i in range(30)]), 5)
    with pytest.raises(ValueError, match="budget of at least 12"):
        estimate(CrossFitted(ridge), game, 11)
    estimate(CrossFitted(ridge), game, 12)
    for estimator in SAMPLING:
        with pytest.raises(ValueError, match="budget must be at least 2"):
            estimate(estimator, game, 1)
        one = advance(estimator, start(game.players), game, 1)
        with pytest.raises(ValueError, match="empty coalition"):
            estimator.result(one)
    with pytest.raises(ValueError, match="allocation must be"):
        Stratified("best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pilot must be at least 2"):
        Stratified("neyman", pilot=1)
