from __future__ import annotations

import numpy as np
import pytest

from sampling import keys, stream, without
from shapley import FunctionGame
from shapley.search import (
    Limits,
    draw_sets,
    evolution_search,
    exhaustive_search,
    propose,
)
from shapley.search.drawing import exchanged
from tests.support.shapley_games import CountingGame, pairwise, random_table, smooth


def test_pairs_that_hide_the_optimum_are_solved():
    for seed in range(4):
        game = pairwise(16, seed)[0]
        found = evolution_search(game, [4, 8, 12], seed)
        for count in (4, 8, 12):
            best = exhaustive_search(game, count, 1)[0]
            assert found[count][0].utility == pytest.approx(best.utility)
            assert found[count][0].removed == best.removed
            utilities = [one.utility for one in found[count]]
            assert utilities == sorted(utilities, reverse=True)
            assert len({one.removed for one in found[count]}) == len(found[count]) == 16
            assert {one.source for one in found[count]} == {"evolution"}


def test_seeds_repeat_and_differ():
    game = random_table(12, 0)
    first = evolution_search(game, [5, 6], 7, most=5, generations=2)
    assert evolution_search(game, [6, 5], 7, most=5, generations=2) == first
    assert evolution_search(game, [5, 6], 8, most=5, generations=2) != first


def test_one_call_a_step_for_all_counts():
    game = CountingGame(smooth(20))
    evolution_search(game, [3, 7, 9], 0, population=6, generations=10)
    assert (game.calls, game.rows) == (11, 11 * 18)


def test_everything_and_almost_nothing_removed():
    game = smooth(5)
    found = evolution_search(game, [1, 5], 0)
    assert [one.removed for one in found[5]] == [(0, 1, 2, 3, 4)]
    assert {one.removed for one in found[1]} == {(player,) for player in range(5)}
    only = evolution_search(game, [2], 0, Limits(5, protected=(0, 1, 2)))[2]
    assert [one.removed for one in only] == [(3, 4)]


def test_bad_settings():
    with pytest.raises(ValueError, match="must be at least"):
        evolution_search(smooth(5), [1], 0, population=1)
    with pytest.raises(ValueError, match="between 1 and 5"):
        evolution_search(smooth(5), [6], 0)


def test_exchanges_keep_the_size_and_move_one_player():
    limits, rng = Limits(9, protected=(3,)), stream(0, "moves")
    rows = draw_sets(limits, 4, 200, rng)
    moved = exchanged(rows, limits.free, rng)
    assert ((~moved).sum(axis=1) == 4).all()
    assert ((moved != rows).sum(axis=1) == 2).all()
    assert moved[:, 3].all()
    share = (~rows)[:, limits.free].mean(axis=0)
    assert np.abs(share - 0.5).max() < 0.15
    everything = np.zeros((2, 9), dtype=bool)
    assert (exchanged(everything, np.arange(9), rng) == everything).all()


def test_sets_ruled_out_by_an_acquisition_are_passed_over_and_nothing_is_remembered():
    truth, n = smooth(14, 2), 14
    free = propose(truth, [4, 6], 0, exhaustive_limit=0)
    known = {keys(without(n, one.removed)[None])[0] for count in free for one in free[count][:3]}

    def acquisition(rows):
        seen = np.array([key in known for key in keys(rows)])
        return np.where(seen, -np.inf, truth(rows))

    unseen = propose(FunctionGame(acquisition, n), [4, 6], 0, exhaustive_limit=0)
    for count in (4, 6):
        ranked = exhaustive_search(truth, count, 4)
        assert [one.removed for one in free[count][:3]] == [one.removed for one in ranked[:3]]
        assert unseen[count][0].removed == ranked[3].removed
    assert propose(truth, [4, 6], 0, exhaustive_limit=0) == free
    chain = propose(FunctionGame(acquisition, n), [4, 6], 0, nested=True)
    assert not {keys(without(n, chain[k][0].removed)[None])[0] for k in chain} & known
    nothing = FunctionGame(lambda rows: np.full(len(rows), -np.inf), n)
    assert len(propose(nothing, [4, 6], 0, nested=True, exhaustive_limit=0)[6]) == 8


def test_effort_and_counts_of_proposals():
    game = CountingGame(smooth(24, 1))
    little = propose(game, [5, 10], 0, 5, effort=0.0, exhaustive_limit=0)
    spent = game.rows
    much = propose(game, [5, 10], 0, 5, effort=2.0, exhaustive_limit=0)
    assert game.rows - spent > spent
    for count in (5, 10):
        assert len(little[count]) == len(much[count]) == 5
        assert much[count][0].utility >= little[count][0].utility
    with pytest.raises(ValueError, match="effort at least 0"):
        propose(game, [5], 0, effort=-1.0)
