"""The contract of `shapley.search.acquisition.Learner` and the beliefs that it makes."""

from __future__ import annotations

import numpy as np
import pytest

from sampling import campaign_design, enumerate_all
from tests.support.shapley_games import smooth

__all__ = ["BeliefContract"]


class BeliefContract:
    """A learner turns measurements into a belief: a mean and a deviation of every coalition.

    - Both answer ``[B, n]`` booleans with ``B`` finite numbers, for B = 0 as well; deviations are
      above 0.
    - The same measurements and seed give the same belief; a row's answer is its own, whatever
      else is asked beside it.
    - The unit and the zero of utilities change nothing but the unit and the zero of the answers.
    - Neighbours, by one removal more or one exchange, are expected to have their means.
    - Utilities of the first measurements on a scale of their own may be given beside them; the
      belief follows from the arguments alone, whatever the learner was asked before.
    - A game without any difference is no trouble.

    Fixture: `learner`.
    """

    @pytest.fixture
    def measured(self):
        rows = campaign_design(7, 50, 4, 0).coalitions
        return rows, smooth(7, 1)(rows)

    def test_it_answers_every_coalition(self, learner, measured):
        belief = learner(*measured, 0)
        for rows in (enumerate_all(7), np.empty((0, 7), dtype=bool)):
            for found in (belief.mean(rows), belief.deviation(rows)):
                assert found.shape == (len(rows),)
                assert np.isfinite(found).all()
        assert (belief.deviation(enumerate_all(7)) > 0).all()

    def test_a_row_has_its_own_answer(self, learner, measured):
        belief, again = learner(*measured, 3), learner(*measured, 3)
        rows = enumerate_all(7)
        order = np.random.default_rng(0).permutation(len(rows))
        for name in ("mean", "deviation"):
            wanted = getattr(belief, name)(rows)
            np.testing.assert_array_equal(getattr(again, name)(rows), wanted)
            np.testing.assert_allclose(getattr(belief, name)(rows[order]), wanted[order])
            np.testing.assert_allclose(getattr(belief, name)(rows[:1]), wanted[:1])

    def test_units_change_nothing(self, learner, measured):
        rows, utilities = measured
        plain, scaled = learner(rows, utilities, 0), learner(rows, 1000 * utilities + 7000, 0)
        asked = enumerate_all(7)
        np.testing.assert_allclose(
            (scaled.mean(asked) - 7000) / 1000, plain.mean(asked), rtol=1e-2, atol=1e-2
        )
        ratio = scaled.deviation(asked) / plain.deviation(asked)
        np.testing.assert_allclose(ratio, 1000, rtol=0.1)

    def test_a_game_without_differences(self, learner, measured):
        rows, utilities = measured
        belief = learner(rows, np.full_like(utilities, 2.0), 0)
        np.testing.assert_allclose(belief.mean(enumerate_all(7)), 2.0, atol=1e-6)

    def test_neighbours_have_their_means(self, learner, measured):
        belief = learner(*measured, 0)
        rows = enumerate_all(7)[[5, 77, 127]]
        fewer = belief.removals(rows)
        assert fewer.shape == rows.shape
        for row, expected in zip(rows, fewer, strict=True):
            kept, gone = np.flatnonzero(row), np.flatnonzero(~row)
            without = row & ~np.eye(7, dtype=bool)[kept]
            np.testing.assert_allclose(expected[kept], belief.mean(without), rtol=1e-6)
            exchanged = belief.exchanges(row)
            assert exchanged.shape == (len(gone), len(kept))
            for back, means in zip(gone, exchanged, strict=True):
                near = without.copy()
                near[:, back] = True
                np.testing.assert_allclose(means, belief.mean(near), rtol=1e-6)

    def test_what_was_asked_before_leaves_no_trace(self, learner, measured):
        rows, utilities = measured
        asked = enumerate_all(7)
        for count in (30, 40, 50):
            belief = learner(rows[:count], utilities[:count], 0, 2.0 * utilities[:25])
        learner(rows[::-1], utilities[::-1], 1)
        again = learner(rows, utilities, 0, 2.0 * utilities[:25])
        np.testing.assert_array_equal(again.mean(asked), belief.mean(asked))
        np.testing.assert_array_equal(again.deviation(asked), belief.deviation(asked))
