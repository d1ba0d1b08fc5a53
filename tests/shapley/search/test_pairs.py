"""Searches for sets whose players go two by two."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from sampling import enumerate_all, stream, without
from shapley import TableGame
from shapley.estimator import advance, start
from shapley.search import Limits, Saving, SetSearch, propose
from shapley.search.drawing import draw_sets
from shapley.search.pairs import heaviest_pairs, odd_runs, pair_moves
from shapley.search.pool import near_sets
from shapley.search.quadratic import QuadraticFit
from surrogate.process.belief import ProcessLearner


def game(n, seed=0):
    rng = np.random.default_rng(seed)
    pairs = np.triu(rng.normal(0.0, 0.3, (n, n)), 1)
    return QuadraticFit(0.0, -rng.gamma(1.0, 1.0, n), pairs, 1.0).game()


def limits_of(n, gap=None, protected=(), savings=()):
    joined = np.ones(n - 1, dtype=bool)
    if gap is not None:
        joined[gap] = False
    return Limits(n, protected, False, savings, joined)


def by_hand(limits, count):
    """Every allowed set as a choice of disjoint pairs, and one player more where count is odd."""
    found = set()
    for firsts in combinations(limits.pair_starts.tolist(), count // 2):
        taken = {player for first in firsts for player in (first, first + 1)}
        if len(taken) == 2 * len(firsts):
            rest = [{p} for p in limits.free.tolist() if p not in taken] if count % 2 else [set()]
            found |= {tuple(sorted(taken | more)) for more in rest}
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_allowed_sets_are_those_made_of_pairs(count):
    limits = limits_of(10, gap=4, protected=(8,))
    rows = enumerate_all(10)
    rows = rows[(~rows).sum(axis=1) == count]
    allowed = {tuple(np.flatnonzero(~row).tolist()) for row in rows[limits.allowed(rows)]}
    made = by_hand(limits, count)
    assert allowed == made if count % 2 == 0 else allowed <= made
    assert (limits.some_row(count) is None) == (not allowed)
    if allowed:
        drawn = draw_sets(limits, count, 40, stream(0, "pairs"))
        assert limits.allowed(drawn).all()
        assert len(drawn) == 40


def test_runs_of_an_odd_number_are_counted_and_a_gap_ends_a_run():
    joined = np.array([True, True, False, True, True])
    rows = ~np.array([[1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0]], dtype=bool)
    assert odd_runs(~rows, joined).tolist() == [0, 2, 2]


def test_the_heaviest_disjoint_pairs_are_those_of_all_choices():
    rng = np.random.default_rng(3)
    for _ in range(20):
        weights, apart = rng.normal(size=8), rng.random(7) < 0.3
        best = {}
        for chosen in combinations(range(8), 3):
            if all(b - a > 1 or apart[a] for a, b in pairwise(chosen)):
                best[chosen] = weights[list(chosen)].sum()
        found = heaviest_pairs(weights, apart, 3)
        assert found is not None
        assert tuple(found) == max(best, key=best.__getitem__)
    assert heaviest_pairs(np.ones(4), np.zeros(3, dtype=bool), 3) is None


def test_a_move_takes_one_pair_back_and_another_out():
    limits = limits_of(8)
    row = without(8, (1, 2))
    moved = {tuple(np.flatnonzero(~near).tolist()) for near in pair_moves(row, limits.pair_starts)}
    assert moved == {(i, i + 1) for i in range(7)} - {(1, 2)}


@pytest.mark.parametrize("searched", [0, 2_000_000])
@pytest.mark.parametrize("count", [4, 5, 6])
def test_the_best_set_of_pairs_is_proposed(count, searched):
    limits, played = limits_of(16, gap=7, protected=(3,)), game(16)
    found = propose(played, (count,), 0, per_count=5, limits=limits, exhaustive_limit=searched)[
        count
    ]
    rows = np.array([without(16, one.removed) for one in found])
    assert limits.allowed(rows).all()
    every = np.array([without(16, removed) for removed in by_hand(limits, count)])
    best = played(every[limits.allowed(every)]).max()
    assert found[0].utility == pytest.approx(best)


def test_an_active_search_measures_and_returns_sets_of_pairs():
    rng = np.random.default_rng(1)
    removed = (~enumerate_all(12)).astype(float)
    pairs = np.triu(rng.normal(0, 0.1, (12, 12)), 1)
    table = TableGame(-removed @ rng.gamma(2.0, 0.1, 12) - ((removed @ pairs) * removed).sum(1))
    limits = limits_of(12)
    search = SetSearch(ProcessLearner(), (2, 4), limits)
    result = search.result(advance(search, start(table.players, 0), table, 140))
    for count in (2, 4):
        rows = np.array([without(12, removed) for removed in by_hand(limits, count)])
        assert result.sets[count][0].utility == pytest.approx(table(rows).max())


def test_promising_sets_near_a_belief_keep_to_pairs():
    limits = limits_of(12)
    measured = enumerate_all(12)[::7]
    learned = ProcessLearner()(measured, game(12)(measured), 0)
    elite = np.array([without(12, (0, 1, 4, 5))])
    rows, _ = near_sets(learned, elite, limits, (2, 4), 30)
    assert len(rows) > 20
    assert limits.allowed(rows).all()


def test_a_saving_is_reached_by_pairs_or_refused():
    amounts = np.array([1.0, 9.0, 1.0, 1.0, 8.0, 1.0])
    reached = limits_of(6, savings=(Saving("bytes", amounts, 18.0),))
    row = reached.some_row(4)
    assert row is not None
    assert amounts[~row].sum() == 19.0
    with pytest.raises(ValueError, match="cannot be reached"):
        limits_of(6, savings=(Saving("bytes", amounts, 18.0),)).check([2])


def test_players_that_cannot_go_in_pairs_are_refused():
    alone = Limits(4, (), False, (), np.array([False, True, False]))
    with pytest.raises(ValueError, match="go in pairs"):
        alone.check([4])
    with pytest.raises(ValueError, match="pairs has 2 entries"):
        Limits(4, (), False, (), np.ones(2, dtype=bool))
