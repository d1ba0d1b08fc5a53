from __future__ import annotations

import itertools

import numpy as np
import pytest

from sampling import without
from shapley import FunctionGame
from shapley.search import (
    Limits,
    Saving,
    exhaustive_search,
    greedy_removal,
    nested_chains,
    nested_search,
    propose,
)
from tests.support.shapley_games import CountingGame, additive, pairwise, random_table, smooth

N = 7


def best_chain(game, counts, limits):
    """Returns the largest mean utility over every order of removal."""
    every = np.stack(
        [without(N, one) for k in counts for one in itertools.combinations(range(N), k)]
    )
    values = np.where(limits.allowed(every), game(every), -np.inf)
    table = {row.tobytes(): value for row, value in zip(every, values, strict=True)}
    scores = []
    for order in itertools.permutations(range(N), max(counts)):
        scores.append(sum(table[without(N, order[:count]).tobytes()] for count in counts))
    return max(scores) / len(counts)


def check_chain(game, found, limits=None):
    counts = sorted(found)
    for small, large in itertools.pairwise(counts):
        assert set(found[small].removed) < set(found[large].removed)
    for count in counts:
        row = without(len(game.players), found[count].removed)[None]
        assert len(found[count].removed) == count
        assert found[count].utility == pytest.approx(game(row)[0])
        assert limits is None or limits.allowed(row)[0]
    return np.mean([found[count].utility for count in counts])


SAVING = Saving("bytes", np.array([3.0, 1, 2, 2, 1, 3, 1]), 5.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "limits",
    [
        Limits(N),
        Limits(N, protected=(2,)),
        Limits(N, contiguous=True),
        Limits(N, savings=(SAVING,)),
    ],
    ids=["none", "protected", "contiguous", "saving"],
)
@pytest.mark.parametrize("counts", [[2, 3, 4, 5], [2, 5]])
def test_the_best_chain_of_small_games_is_found(seed, limits, counts):
    for game in (pairwise(N, seed)[0], random_table(N, seed)):
        found = nested_search(game, counts, width=64, limits=limits)
        assert check_chain(game, found, limits) == pytest.approx(best_chain(game, counts, limits))


def test_improvement_beats_greedy_order_and_width_one_is_enough_for_additive_games():
    game, worth = additive(12)
    order = np.argsort(worth)
    found = nested_search(game, [3, 6, 9], width=1)
    for count, one in found.items():
        assert one.removed == tuple(sorted(order[:count].tolist()))
    gains = 0
    for seed in range(6):
        rough = random_table(10, seed)
        score = nested_chains(rough, range(1, 8), width=1, most=1)[0].score
        greedy = np.mean([one.utility for one in greedy_removal(rough, range(1, 8)).values()])
        assert score >= greedy - 1e-12
        gains += score > greedy + 1e-9
    assert gains >= 2


def test_chains_lead_through_given_sets():
    for seed in range(6):
        rough = random_table(12, seed)
        best = exhaustive_search(rough, 6, 1)
        assert nested_chains(rough, [6], 8, through=best)[0].sets[6].removed == best[0].removed
        found = propose(rough, [3, 6], 0, nested=True)
        alone = nested_chains(rough, [3, 6], width=32)[0].score
        assert check_chain(rough, {k: found[k][0] for k in found}) >= alone - 1e-12


def test_chains_are_distinct_best_first_and_repeatable():
    game = CountingGame(smooth(20, 1))
    chains = nested_chains(game, range(2, 11), width=16, most=4)
    scores = [chain.score for chain in chains]
    assert scores == sorted(scores, reverse=True)
    assert len({tuple(one.removed for one in chain.sets.values()) for chain in chains}) == len(
        chains
    )
    for chain in chains:
        assert check_chain(game, chain.sets) == pytest.approx(chain.score)
    assert nested_chains(game, range(2, 11), width=16, most=4) == chains
    assert game.calls < 2 * (10 + 4 * 105)


def test_proposals_lead_with_the_chain():
    game = smooth(16, 5)
    found = propose(game, range(2, 9), 0, 6, nested=True, exhaustive_limit=500)
    check_chain(game, {count: candidates[0] for count, candidates in found.items()})
    free = propose(game, range(2, 9), 0, 6, exhaustive_limit=500)
    for count, candidates in found.items():
        assert len({one.removed for one in candidates}) == 6
        assert candidates[0].utility <= free[count][0].utility + 1e-12


def test_limits_that_no_chain_satisfies():
    """Each count can be reached alone: {0} saves 9, the run {2, 3, 4} saves 14, {0, 1, 2} 8."""
    amounts = np.array([9.0, -5.0, 4.0, 5.0, 5.0])
    limits = Limits(5, contiguous=True, savings=(Saving("a", amounts, 9.0),))
    assert limits.check([1, 3]) == (1, 3)
    game = additive(5)[0]
    with pytest.raises(ValueError, match="counts 1 to 3 have no nested sets"):
        nested_search(game, [1, 3], limits=limits)
    exclusive = (Saving("a", np.array([1.0, 0, 0, -9]), 1.0), Saving("b", np.arange(4.0), 0.0))
    chain = nested_search(additive(4)[0], [1, 2, 3], limits=Limits(4, savings=exclusive))
    assert chain[1].removed == (0,)
    assert 3 not in chain[3].removed
    with pytest.raises(ValueError, match="at least 1 chain"):
        nested_search(game, [1], width=0)


def test_two_savings_that_end_the_beam_still_give_a_chain():
    harm = np.array([0.0, 0.1, 5, 5, 5, 5, 9, 9])
    first = Saving("a", np.array([6.0, 0, 4, 4, 0, 0, 1, 1]), 8.0)
    second = Saving("b", np.array([0.0, 6, 0, 0, 4, 4, 1, 1]), 8.0)
    limits = Limits(8, savings=(first, second))
    game = FunctionGame(lambda rows: -(~rows @ harm), 8)
    check_chain(game, nested_search(game, [4, 5, 6], 1, limits), limits)
