"""The contract of `shapley.estimator.Estimator`."""

from __future__ import annotations

import io

import numpy as np
import pytest

from sampling import keys
from shapley import State, Status, advance, estimate, exact_values, start
from tests.support.shapley_games import CountingGame, random_table, smooth

__all__ = ["EstimatorContract", "NestedContract", "stored"]


class EstimatorContract:
    """An estimator chooses coalitions and turns their utilities into values.

    - `propose` gives at most as many rows as it is asked for, all different and none measured
      before, decided by the state alone; none once everything is measured, or for a count of 0.
    - A state can be written down, read back and gone on with; nothing else is remembered.
    - Values add up to ``v(N) - v(empty)`` and say who made them and what they cost.
    - Once everything is measured the values are exact.
    - Measurements of any other origin are used and not repeated.
    - Too few measurements are refused with a ValueError.

    Fixture: `estimator`.
    """

    budget = 40
    """A budget at which 6 players can be told apart."""

    def test_proposals_are_new_different_and_decided_by_the_state(self, estimator):
        game = random_table(6, 1)
        state = start(game.players, 3)
        for count in (0, 1, 9, 20, 200):
            rows = estimator.propose(state, count)
            assert rows.dtype == np.bool_
            assert rows.shape[1] == 6
            assert len(rows) <= count
            known = set(keys(state.coalitions))
            assert len(set(keys(rows)) | known) == len(rows) + len(known)
            np.testing.assert_array_equal(estimator.propose(stored(state), count), rows)
            state = state.extended(rows, game(rows))
        state = advance(estimator, state, game, 64)
        assert state.spent == 64
        assert len(estimator.propose(state, 5)) == 0

    def test_values_add_up_and_rest_on_the_state_alone(self, estimator):
        game = smooth(6, 0)
        found = estimate(estimator, game, self.budget, seed=1)
        ends = game(np.array([[True] * 6, [False] * 6]))
        assert found.values.sum() == pytest.approx(ends[0] - ends[1])
        assert found.players == game.players
        assert found.method == estimator.name
        assert found.spent == found.budget == self.budget
        again = advance(estimator, start(game.players, 1), game, self.budget)
        np.testing.assert_array_equal(estimator.result(stored(again)).values, found.values)

    def test_everything_measured_is_exact(self, estimator):
        for n in (1, 2, 4):
            game = CountingGame(random_table(n, 2))
            found = estimate(estimator, game, 2**n + 3, seed=1)
            np.testing.assert_allclose(found.values, exact_values(game.game).values, atol=1e-9)
            assert (found.status, found.spent, found.budget) == (Status.EXACT, 2**n, 2**n + 3)
            assert len(game.seen) == game.rows == 2**n

    def test_measurements_of_others_are_used_and_not_repeated(self, estimator):
        game = random_table(5, 3)
        rows = np.random.default_rng(0).permutation(2**5)[:20]
        rows = (rows[:, None] >> np.arange(5)) & 1 == 1
        mine = State(game.players, rows, game(rows), 0)
        grown = advance(estimator, mine, game, 32)
        assert len(set(keys(grown.coalitions))) == grown.spent == 32
        values = estimator.result(grown).values
        np.testing.assert_allclose(values, exact_values(game).values, atol=1e-9)

    def test_too_little_is_refused(self, estimator):
        with pytest.raises(ValueError, match=r"measure|budget|coalition"):
            estimate(estimator, random_table(6, 0), 1)


class NestedContract(EstimatorContract):
    """Moreover, how the evaluations are cut into steps changes nothing.

    The coalitions of a budget begin with those of any smaller one.
    """

    def test_a_larger_budget_starts_with_a_smaller_ones_coalitions(self, estimator):
        game = random_table(8, 0)
        small = advance(estimator, start(game.players, 4), game, 70)
        large = advance(estimator, start(game.players, 4), game, 150)
        np.testing.assert_array_equal(large.coalitions[:70], small.coalitions)

    def test_steps_and_stops_change_nothing(self, estimator):
        game = random_table(6, 4)
        at_once = advance(estimator, start(game.players, 5), game, self.budget)
        for steps in ([1] * self.budget, [7, 0, self.budget - 7]):
            state = start(game.players, 5)
            for step in steps:
                state = stored(advance(estimator, state, game, step))
            np.testing.assert_array_equal(state.coalitions, at_once.coalitions)
            np.testing.assert_array_equal(state.utilities, at_once.utilities)


def stored(state: State) -> State:
    """The state after it was written to a file and read back."""
    file = io.BytesIO()
    np.savez(file, coalitions=state.coalitions, utilities=state.utilities)
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return State(state.players, arrays["coalitions"], arrays["utilities"], state.seed)
