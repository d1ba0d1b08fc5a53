from __future__ import annotations

import itertools

import numpy as np
import pytest

from sampling import stream, without
from shapley import FunctionGame
from shapley.search import (
    Candidate,
    Limits,
    Saving,
    beam_search,
    draw_sets,
    evolution_search,
    exhaustive_search,
    greedy_removal,
    propose,
    swap_search,
)
from tests.support.shapley_games import CountingGame, smooth

N = 11


def saving(seed, least, name="parameters", unit=""):
    return Saving(name, stream(seed, "amounts").uniform(1.0, 9.0, size=N), least, unit)


LIMITS = {
    "none": Limits(N),
    "protected": Limits(N, protected=(0, 4)),
    "contiguous": Limits(N, protected=(2,), contiguous=True),
    "one saving": Limits(N, savings=(saving(1, 28.0),)),
    "two savings": Limits(N, protected=(10,), savings=(saving(1, 22.0), saving(2, 22.0, "bytes"))),
    "run that saves": Limits(N, contiguous=True, savings=(saving(1, 21.0),)),
}


def allowed_by_hand(limits, removed):
    run = not limits.contiguous or removed[-1] - removed[0] + 1 == len(removed)
    saved = all(one.amounts[list(removed)].sum() >= one.least for one in limits.savings)
    return run and saved and not set(removed) & set(limits.protected)


def sets_by_hand(limits, count):
    return [s for s in itertools.combinations(range(N), count) if allowed_by_hand(limits, s)]


def best_by_hand(game, limits, count):
    sets = sets_by_hand(limits, count)
    return max(zip(game(np.stack([without(N, one) for one in sets])), sets, strict=True))


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("count", [5, 6])
def test_every_search_respects_limits_and_the_union_finds_the_optimum(kind, count):
    limits, game = LIMITS[kind], smooth(N, 3)
    utility, removed = best_by_hand(game, limits, count)
    every = exhaustive_search(game, count, 1_000, limits)
    assert every[0].removed == removed
    assert {one.removed for one in every} == set(sets_by_hand(limits, count))
    found = propose(game, [count], 0, limits=limits, exhaustive_limit=0)[count]
    assert found[0].removed == removed
    assert found[0].utility == pytest.approx(utility)
    rows = draw_sets(limits, count, 50, stream(0, "test"))
    assert limits.allowed(rows).all()
    assert ((~rows).sum(axis=1) == count).all()
    searches = [
        beam_search(game, [2 if kind in ("none", "protected") else 5, count], 4, limits)[count],
        [greedy_removal(game, [count], limits)[count]],
        evolution_search(game, [count], 1, limits, population=10, generations=20)[count],
        swap_search(game, every[-3:], limits),
    ]
    for candidates in searches:
        assert candidates
        for one in candidates:
            assert allowed_by_hand(limits, one.removed)
            assert len(one.removed) == count
            assert game(without(N, one.removed)[None])[0] == pytest.approx(one.utility)


@pytest.mark.parametrize("kind", LIMITS)
def test_allowed_and_possible_counts_are_those_of_enumeration(kind):
    limits, every = LIMITS[kind], range(1, N + 1)
    for count in every:
        sets = list(itertools.combinations(range(N), count))
        rows = np.stack([without(N, one) for one in sets])
        assert limits.allowed(rows).tolist() == [allowed_by_hand(limits, one) for one in sets]
    possible = [count for count in every if sets_by_hand(limits, count)]
    assert list(limits.counts_possible()) == possible
    for count in every:
        if count in possible:
            assert limits.check([count]) == (count,)
        else:
            with pytest.raises(ValueError, match=str(count)):
                limits.check([count])


@pytest.mark.parametrize("kind", ["one saving", "contiguous", "run that saves", "two savings"])
def test_a_partial_set_is_dropped_only_if_nothing_allowed_contains_it(kind):
    limits, count = LIMITS[kind], 6
    final = [set(one) for one in sets_by_hand(limits, count)]
    free = [player for player in range(N) if player not in limits.protected]
    for size in (1, 3, 6):
        partial = list(itertools.combinations(free, size))
        kept = limits.completable(np.stack([without(N, one) for one in partial]), count)
        truth = np.array([any(set(one) <= whole for whole in final) for one in partial])
        assert not (truth & ~kept).any()
        if kind != "two savings":
            assert (kept == truth).all()


def test_messages_name_the_constraint_and_the_nearest_possible():
    ten = Saving("parameters", np.full(10, 300.0), 1200.0)
    message = (
        r"saving of 1,200 parameters cannot be reached by removing 1 to 3 of the 10 free players:"
        r" at most 900 parameters; lower it or remove at least 4"
    )
    with pytest.raises(ValueError, match=message):
        Limits(10, savings=(ten,)).check([1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"longest run of free players is 6; remove at most 6"):
        Limits(10, (3,), contiguous=True).check([7])
    spread = np.array([9.0, 1, 9, 1, 9, 1])
    with pytest.raises(ValueError, match=r"in one run: at most 10 s latency; .* at least 3"):
        Limits(6, contiguous=True, savings=(Saving("latency", spread, 18.0, "s"),)).check([2])
    apart = (Saving("a", spread, 18.0), Saving("b", 10 - spread, 18.0))
    with pytest.raises(ValueError, match=r"together by removing 2 .*: at most 55\.6 % of each"):
        Limits(6, savings=apart).check([2])
    with pytest.raises(ValueError, match="7 entries for 6 players"):
        Limits(6, savings=(Saving("a", np.ones(7), 1.0),))
    with pytest.raises(ValueError, match="finite numbers"):
        Saving("a", np.array([1.0, np.nan]), 1.0)
    with pytest.raises(ValueError, match="limits is for 6 players, the game has 11"):
        greedy_removal(smooth(N), [1], Limits(6))
    with pytest.raises(ValueError, match="breaks the limits"):
        swap_search(smooth(N), [Candidate((0, 2), 0.0, "x")], Limits(N, contiguous=True))
    with pytest.raises(ValueError, match="at least one number"):
        Limits(6).check([])


def test_savings_may_cost_and_a_saving_of_a_kind_counts_players():
    amounts = np.array([5.0, -1, -1, 4, -1, 3])
    limits = Limits(6, savings=(Saving("bytes", amounts, 10.0),))
    assert limits.counts_possible() == (3, 4, 5)
    attention = Limits(6, savings=(Saving("attention players", np.array([1.0, 0] * 3), 2),))
    for one in exhaustive_search(smooth(6), 3, 100, attention):
        assert len({0, 2, 4} & set(one.removed)) >= 2


def test_sets_that_break_limits_are_never_asked_of_the_game_by_enumeration():
    game = CountingGame(smooth(N))
    exhaustive_search(game, 4, limits=LIMITS["contiguous"])
    assert game.rows == 5
    tight = Limits(N, savings=(saving(1, 28.0),))
    game = CountingGame(smooth(N))
    exhaustive_search(game, 5, limits=tight)
    assert game.rows == len(sets_by_hand(tight, 5))


def test_two_savings_that_end_greedy_paths_still_give_a_set():
    harm = np.array([0.0, 0.1, 5, 5, 5, 5, 9, 9])
    first = np.array([6.0, 0, 4, 4, 0, 0, 1, 1])
    second = np.array([0.0, 6, 0, 0, 4, 4, 1, 1])
    limits = Limits(8, savings=(Saving("a", first, 8.0), Saving("b", second, 8.0)))
    game = FunctionGame(lambda rows: -(~rows @ harm), 8)
    best = exhaustive_search(game, 4, 1, limits)[0]
    assert limits.allowed(without(8, greedy_removal(game, [4], limits)[4].removed)[None])[0]
    assert propose(game, [4], 0, limits=limits, exhaustive_limit=0)[4][0].removed == best.removed
