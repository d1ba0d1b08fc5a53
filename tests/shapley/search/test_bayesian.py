"""Active search finds the best sets of a game by measuring few of its coalitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sampling import enumerate_all, without
from shapley import TableGame
from shapley.estimator import State, advance, start
from shapley.search import Limits, Saving, SetSearch
from shapley.search.acquisition import studied
from shapley.search.known import MeasuredFirstGame
from shapley.search.pool import every_set, near_sets
from shapley.search.scale import make_scale
from surrogate.process.belief import ProcessLearner

N = 10
COUNTS = (1, 2, 3, 4, 5)


def damaged(seed: int, n: int = N) -> TableGame:
    """Costs, pairs that help or hurt each other, and ruin without the first player."""
    rng = np.random.default_rng(seed)
    removed = (~enumerate_all(n)).astype(float)
    costs, pairs = rng.gamma(2.0, 0.1, n), np.triu(rng.normal(0, 0.1, (n, n)), 1)
    costs[0] = 5.0
    damage = removed @ costs + ((removed @ pairs) * removed).sum(axis=1)
    return TableGame(-damage - 0.3 * removed[:, 2] * removed[:, 5] * removed[:, 7])


def best(game: TableGame, limits: Limits, counts=COUNTS) -> dict[int, float]:
    rows = enumerate_all(len(game.players))
    rows = rows[limits.allowed(rows)]
    return {c: float(game(rows[(~rows).sum(axis=1) == c]).max()) for c in counts}


def searched(game: TableGame, limits: Limits, budget: int, seed: int = 0, **settings):
    search = SetSearch(ProcessLearner(), settings.pop("counts", COUNTS), limits, **settings)
    state = advance(search, start(game.players, seed), game, budget)
    return search, state, search.result(state)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_set_of_every_size_is_found_with_few_measurements(seed):
    game, limits = damaged(seed), Limits(N)
    _, _, found = searched(game, limits, 153, seed)
    assert found.spent <= 153
    assert {c: sets[0].utility for c, sets in found.sets.items()} == best(game, limits)
    for count, sets in found.sets.items():
        for candidate in sets:
            assert len(candidate.removed) == count
            assert candidate.utility == game(without(N, candidate.removed)[None])[0]
        assert all(a.utility >= b.utility for a, b in pairwise(sets))


@pytest.mark.parametrize(
    "limits",
    [
        Limits(N, protected=(1, 4)),
        Limits(N, contiguous=True),
        Limits(N, savings=(Saving("bytes", np.arange(N, dtype=float), 5.0),)),
    ],
    ids=["protected", "contiguous", "saving"],
)
def test_the_best_allowed_set_is_found(limits):
    game = damaged(3)
    counts = (2, 3, 4)
    _, _, found = searched(game, limits, 250, counts=counts)
    assert {c: sets[0].utility for c, sets in found.sets.items()} == best(game, limits, counts)


def test_sets_that_are_too_many_to_enumerate_are_found_near_the_best_ones():
    game, limits = damaged(5, 12), Limits(12)
    _, _, found = searched(game, limits, 300, most_enumerated=10, counts=(3, 4, 5, 6))
    wanted = best(game, limits, (3, 4, 5, 6))
    assert {c: sets[0].utility for c, sets in found.sets.items()} == wanted


def test_nested_sets_hold_each_other_and_are_measured():
    game = damaged(7)
    _, state, found = searched(game, Limits(N), 250, nested=True)
    chain = [set(found.sets[c][0].removed) for c in COUNTS]
    assert all(smaller < larger for smaller, larger in pairwise(chain))
    measured = {tuple(np.flatnonzero(~row)) for row in state.coalitions}
    assert all(tuple(sorted(one)) in measured for one in chain)
    free = best(game, Limits(N))
    assert sum(found.sets[c][0].utility for c in COUNTS) <= sum(free.values()) + 1e-12


def test_the_chain_has_the_largest_sum_of_utilities_however_bad_one_of_its_sets_is():
    costs = {(0,): 1, (0, 1): 100, (0, 1, 2): 1, (3,): 30, (3, 4): 30, (2, 3, 4): 1, (1, 4): 1}
    rows = enumerate_all(5)
    game = TableGame(np.array([-costs.get(tuple(np.flatnonzero(~row)), 400.0) for row in rows]))
    state = start(game.players).extended(rows, game(rows))
    found = SetSearch(ProcessLearner(), (1, 2, 3), Limits(5), nested=True).result(state)
    assert [found.sets[count][0].removed for count in (1, 2, 3)] == [(3,), (3, 4), (2, 3, 4)]


def test_the_unit_of_utilities_does_not_matter():
    game, limits = damaged(1), Limits(N)
    wanted = [sets[0].removed for sets in searched(game, limits, 153)[2].sets.values()]
    for unit in (1e-30, 1e200):
        scaled = TableGame(unit * game(enumerate_all(N)))
        found = searched(scaled, limits, 153)[2]
        assert [sets[0].removed for sets in found.sets.values()] == wanted


def test_a_search_goes_on_from_any_measurements_and_repeats_itself():
    game = damaged(1)
    search, state, found = searched(game, Limits(N), 120, seed=4)
    again = advance(search, start(game.players, 4), game, 120)
    assert np.array_equal(again.coalitions, state.coalitions)
    other = State(state.players, state.coalitions[:60], state.utilities[:60], 9)
    ended = advance(search, other, game, 90)
    assert len(np.unique(ended.coalitions, axis=0)) == ended.spent
    assert search.result(ended).sets[3][0].utility == found.sets[3][0].utility


def test_what_is_dear_to_learn_is_learnt_on_a_fixed_grid():
    sizes = [studied(spent) for spent in range(1, 1500)]
    assert sizes[:149] == list(range(1, 150))
    assert all(size <= spent for spent, size in enumerate(sizes, 1))
    assert all(spent < 1.26 * size for spent, size in enumerate(sizes, 1))
    assert len(set(sizes[150:])) == 11
    game = damaged(1, 11)
    search, state, _ = searched(game, Limits(11), 240, seed=2)
    fresh = SetSearch(ProcessLearner(), COUNTS, Limits(11))
    assert np.array_equal(fresh.propose(state, 20), search.propose(state, 20))


def test_a_state_is_evaluated_once():
    game = damaged(2)
    search, state, _ = searched(game, Limits(N), 100)
    assert search.evaluate(state) is search.evaluate(state)
    assert search.evaluate(state.first(90)) is not search.evaluate(state)


def test_it_stops_by_itself_when_nothing_better_is_likely():
    game = damaged(2)
    search, state, found = searched(game, Limits(N), 600)
    assert state.spent < 600
    assert found.converged
    assert max(found.chances.values()) < search.stop_probability
    assert not len(search.propose(state, 50))


def test_an_early_result_tells_what_is_expected():
    game = damaged(2)
    search = SetSearch(ProcessLearner(), (5,), Limits(N))
    rows = np.concatenate([np.ones((1, N), bool), ~np.eye(N, dtype=bool)])
    state = start(game.players).extended(rows, game(rows))
    found = search.result(state)
    assert found.sets[5] == ()
    assert len(found.expected[5].removed) == 5
    assert not found.converged
    with pytest.raises(ValueError, match="needs measurements"):
        search.result(start(game.players))


def test_impossible_limits_are_refused_before_anything_is_measured():
    with pytest.raises(ValueError, match="contiguous"):
        SetSearch(ProcessLearner(), (6,), Limits(N, protected=(4,), contiguous=True))


def test_the_scale_keeps_the_order_and_is_inverted():
    utilities = np.array([0.0, -0.5, -1.0, -3.9, -4.1, -30.0, -1e6])
    scale = make_scale(utilities, np.array([-0.5, -1.0]))
    scaled = scale(utilities)
    assert (np.diff(scaled) < 0).all()
    np.testing.assert_allclose(scaled[:4], utilities[:4])
    assert scaled[-1] > -70
    np.testing.assert_allclose(scale.utilities(scaled), utilities, rtol=1e-9)
    np.testing.assert_allclose(make_scale(utilities, utilities[:0])(utilities), utilities)


def test_near_sets_hold_every_exchange_of_the_best_measured_set():
    limits = Limits(N, protected=(0,))
    row = without(N, (2, 5))[None]
    game = damaged(0)
    measured = enumerate_all(N)[::7]
    belief = ProcessLearner()(measured, game(measured), 0)
    rows, means = near_sets(belief, row, limits, (2,), 100)
    found = {tuple(np.flatnonzero(~one)) for one in rows}
    assert {(2, other) for other in range(3, N)} <= found
    assert all(0 not in one and len(one) == 2 for one in found)
    assert len(found) == len(rows)
    np.testing.assert_allclose(means, belief.mean(rows), rtol=1e-6)
    few = near_sets(belief, row, Limits(N, protected=(0,)), (2,), 3)[0]
    assert len(few) < len(rows)
    everything = every_set(limits, (2,), 100)
    assert everything is not None
    assert len(everything) == 36
    assert every_set(limits, (2,), 35) is None


def test_a_known_game_never_contradicts_measurements():
    game = damaged(0)
    rows = enumerate_all(N)[[3, 900]]
    known = MeasuredFirstGame(lambda rows: np.zeros(len(rows)), rows, game(rows), game.players, 2.0)
    asked = np.concatenate([rows, enumerate_all(N)[:1]])
    np.testing.assert_array_equal(known(asked), [*game(rows), -2.0])
