from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from sampling import without
from shapley import (
    Candidate,
    FunctionGame,
    beam_search,
    exhaustive_search,
    greedy_removal,
    propose,
    swap_search,
)
from shapley.search import Limits
from tests.support.shapley_games import CountingGame, additive, smooth


def best_by_hand(game, count, protected=()):
    n = len(game.players)
    free = [player for player in range(n) if player not in protected]
    sets = list(itertools.combinations(free, count))
    utilities = game(np.stack([without(n, removed) for removed in sets]))
    best = int(np.argmax(utilities))
    return sets[best], utilities[best]


def trap(n):
    """Players 0 and 1 replace each other; 2 and 3 only work together, so both can go as one."""
    price = 1.0 + 0.01 * np.arange(n)
    price[:4] = 0.1

    def worth(rows):
        gone = ~rows
        both, one = gone[:, 0] & gone[:, 1], gone[:, 2] ^ gone[:, 3]
        return -(gone @ price) - 10.0 * both - 5.0 * one

    return FunctionGame(worth, n)


def check(game, candidates, count):
    utilities = [candidate.utility for candidate in candidates]
    assert utilities == sorted(utilities, reverse=True)
    assert len({candidate.removed for candidate in candidates}) == len(candidates)
    for candidate in candidates:
        assert len(candidate.removed) == count
        assert list(candidate.removed) == sorted(candidate.removed)
        row = without(len(game.players), candidate.removed)[None]
        assert game(row)[0] == pytest.approx(candidate.utility)


def test_every_search_solves_an_additive_game():
    game, worth = additive(15)
    expected = tuple(sorted(np.argsort(worth)[:6].tolist()))
    assert greedy_removal(game, [6])[6].removed == expected
    assert beam_search(game, [6], 3)[6][0].removed == expected
    assert exhaustive_search(game, 6)[0].removed == expected
    start = Candidate(tuple(sorted(np.argsort(worth)[-6:].tolist())), 0.0, "worst")
    assert swap_search(game, [start])[0].removed == expected
    assert propose(game, [6], seed=0, exhaustive_limit=10)[6][0].removed == expected


@pytest.mark.parametrize("count", [2, 4, 7])
def test_exhaustive_search_is_the_truth(count):
    game = smooth(12, 4)
    for protected in ((), (0, 5)):
        found = exhaustive_search(game, count, most=5, limits=Limits(12, protected))
        removed, utility = best_by_hand(game, count, protected)
        assert found[0].removed == removed
        assert found[0].utility == pytest.approx(utility)
        assert len(found) == 5
        check(game, found, count)
    with pytest.raises(ValueError, match="more than the limit of 10"):
        exhaustive_search(game, count, limit=10)


def test_proposals_find_what_greed_misses():
    game = trap(12)
    best = {count: best_by_hand(game, count)[1] for count in (2, 4, 6)}
    greedy = greedy_removal(game, best)
    assert all(greedy[count].utility < best[count] - 0.5 for count in best)
    found = propose(game, best, seed=0, exhaustive_limit=0)
    for count, utility in best.items():
        assert found[count][0].utility == pytest.approx(utility)
        check(game, found[count], count)


def test_searches_ask_once_a_step():
    game = CountingGame(smooth(20))
    found = beam_search(game, [3, 5], width=7)
    assert game.calls == 5
    assert sorted(found) == [3, 5]
    assert all(len(found[count]) == 7 for count in found)
    check(game, found[5], 5)
    game.rows = game.calls = 0
    greedy_removal(game, [5])
    assert (game.calls, game.rows) == (5, 20 + 19 + 18 + 17 + 16)


def test_swaps_never_make_a_start_worse_and_stop_at_local_optima():
    game = smooth(14, 6)
    starts = [Candidate(tuple(range(k, k + 4)), 0.0, "block") for k in range(8)]
    found = swap_search(game, starts)
    check(game, found, 4)
    rows = np.stack([without(14, start.removed) for start in starts])
    assert found[-1].utility >= game(rows).min()
    for candidate in found:
        row = without(14, candidate.removed)
        for out, back in itertools.product(candidate.removed, np.flatnonzero(row)):
            other = row.copy()
            other[out], other[back] = True, False
            assert game(other[None])[0] <= candidate.utility + 1e-12


def test_protected_players_stay():
    game, worth = additive(12)
    protected = tuple(np.argsort(worth)[:3].tolist())
    limits = Limits(12, protected)
    everything = propose(game, [1, 4, 9], 0, limits=limits, exhaustive_limit=20)
    for count, candidates in everything.items():
        check(game, candidates, count)
        assert not {p for one in candidates for p in one.removed} & set(protected)
    with pytest.raises(ValueError, match="between 1 and 9 of 12"):
        greedy_removal(game, [10], limits)
    with pytest.raises(ValueError, match="between 1 and 9 of 12"):
        propose(game, [10], 0, limits=limits)
    with pytest.raises(ValueError, match="players are 0 to 11"):
        greedy_removal(game, [1], Limits(12, (12,)))
    with pytest.raises(ValueError, match="protected player"):
        swap_search(game, [Candidate((protected[0],), 0.0, "x")], limits)
    with pytest.raises(ValueError, match="equally many"):
        swap_search(game, [Candidate((0,), 0.0, "x"), Candidate((0, 1), 0.0, "x")])


def test_swap_search_of_everything_removed():
    game, _ = additive(4)
    everything = Candidate((0, 1, 2, 3), 0.0, "all")
    assert swap_search(game, [everything])[0].removed == (0, 1, 2, 3)
    assert swap_search(game, []) == []


def test_sixty_four_players_are_searched_in_seconds():
    game = CountingGame(smooth(64))
    start = time.perf_counter()
    found = propose(game, range(1, 22), seed=0)
    assert time.perf_counter() - start < 60
    assert game.rows < 2_000_000
    assert sorted(found) == list(range(1, 22))
    for count, candidates in found.items():
        check(game, candidates, count)
        assert len(candidates) == 8
    again = propose(smooth(64), [9], seed=0)[9]
    assert again == found[9]
