"""The contract of `shapley.game.Game`."""

from __future__ import annotations

import numpy as np

from sampling import enumerate_all
from shapley import Game

__all__ = ["GameContract"]


class GameContract:
    """A game tells players apart by name and answers any batch of their coalitions.

    - `players` is a tuple of different names, and stays the same.
    - The answer to ``[B, n]`` booleans is ``B`` finite float64 numbers, for B = 0 as well.
    - A coalition's utility does not depend on what else is in the batch, on its order or on
      repeats, and asking again gives the same.
    - What it is given is never written to, and need not be contiguous.

    Fixture: `game`, of 2 to 8 players, that knows all of its coalitions.
    """

    exact = True
    """Whether the same coalition in another batch has the same bits, or is only close."""

    def test_it_names_its_players(self, game):
        assert isinstance(game, Game)
        names = tuple(game.players)
        assert len(set(names)) == len(names) >= 2
        assert all(isinstance(name, str) for name in names)
        game(np.ones((1, len(names)), dtype=bool))
        assert tuple(game.players) == names

    def test_it_answers_with_one_finite_number_a_row(self, game):
        n = len(game.players)
        for rows in (enumerate_all(n), np.empty((0, n), dtype=bool)):
            found = np.asarray(game(rows))
            assert found.shape == (len(rows),)
            assert found.dtype == np.float64
            assert np.isfinite(found).all()

    def test_a_utility_is_the_coalitions_own(self, game):
        rows = enumerate_all(len(game.players))
        wanted = np.array(game(rows))
        order = np.random.default_rng(0).permutation(len(rows))
        order = np.concatenate([order, order[:3]])
        self.same(game(rows[order]), wanted[order])
        self.same(np.concatenate([game(rows[i : i + 1]) for i in order[:5]]), wanted[order[:5]])
        self.same(game(rows), wanted)

    def test_what_it_is_given_stays_as_it_is(self, game):
        rows = enumerate_all(len(game.players))
        before = rows.copy()
        wanted = np.array(game(rows))
        np.testing.assert_array_equal(rows, before)
        self.same(game(np.asfortranarray(rows)), wanted)
        self.same(game(rows[::2]), wanted[::2])
        rows.setflags(write=False)
        self.same(game(rows), wanted)

    def same(self, found, wanted):
        if self.exact:
            np.testing.assert_array_equal(found, wanted)
        else:
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
