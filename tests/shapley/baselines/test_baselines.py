"""Published ways to choose a set, on games whose best sets are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sampling import keys, without
from shapley import FunctionGame
from shapley.baselines import (
    EvoPress,
    PartMeter,
    ends_kept,
    evopress,
    greedy,
    in_order,
    rescored_removal,
    reverse_order,
    shortened_ppl,
    single_ablation,
)
from shapley.baselines.greedy import greedy_price
from shapley.baselines.shortened import end_players
from tests.support.shapley_games import CountingGame, WholeGame, additive, random_table, smooth


def best(game, count):
    """The best set of a size, by trying all."""
    n = len(game.players)
    sets = list(itertools.combinations(range(n), count))
    return sets[int(np.argmax(game(np.stack([without(n, removed) for removed in sets]))))]


class Text:
    """A game on a text of several sequences: each adds noise of its own to a smooth game."""

    def __init__(self, n, parts, noise=0.0):
        self.game, self.parts, self.noise = smooth(n, 3), parts, noise
        self.players = self.game.players
        self.pairs: set[tuple[bytes, int]] = set()

    def __call__(self, coalitions, parts):
        self.pairs.update(itertools.product(keys(coalitions), parts.tolist()))
        waves = np.sin(np.outer(coalitions @ np.arange(1.0, coalitions.shape[1] + 1), parts + 1))
        return self.game(coalitions) + self.noise * waves.mean(axis=1)


def test_single_ablation_sorts_once():
    plain, worth = additive(9)
    game = CountingGame(plain)
    found = single_ablation(game, [5, 2])
    assert (game.calls, len(game.seen)) == (1, 9)
    assert found.evaluations == 9
    order = np.argsort(worth)
    assert found.sets == {k: tuple(sorted(order[:k].tolist())) for k in (2, 5)}


def test_greedy_takes_the_least_costly_player_each_time():
    game = CountingGame(smooth(8, 1))
    found = greedy(game, [4, 2])
    assert found.evaluations == len(game.seen) == greedy_price(8, [4, 2]) == 8 + 7 + 6 + 5
    assert set(found.sets[2]) < set(found.sets[4])
    left = [player for player in range(8) if player not in found.sets[2]]
    thirds = {player: without(8, [*found.sets[2], player]) for player in left}
    worth = dict(zip(thirds, game(np.array(list(thirds.values()))), strict=True))
    assert max(worth, key=worth.__getitem__) in found.sets[4]


def test_ends_are_the_players_that_reach_into_them():
    whole = [[layer] for layer in range(6)]
    assert end_players(whole, 1, 2, 6) == [0, 4, 5]
    assert end_players([[0, 1], [2, 3], [4, 5]], 1, 1, 6) == [0, 2]
    assert end_players([[1], [1], [5]], 1, 1, 6) == [2]


def test_reverse_order_keeps_the_last_player():
    found = reverse_order(6, [1, 3, 5, 6])
    assert found.evaluations == 0
    assert found.sets == {1: (4,), 3: (2, 3, 4), 5: (0, 1, 2, 3, 4), 6: (0, 1, 2, 3, 4, 5)}


@pytest.mark.parametrize(
    ("depth", "ends"), [(40, (4, 2)), (32, (4, 2)), (16, (2, 1)), (12, (2, 1)), (3, (1, 1))]
)
def test_the_ends_shrink_with_the_depth(depth, ends):
    assert ends_kept(depth) == ends


def test_shortened_ppl_takes_the_ends_last():
    worth = np.array([0.0, 5.0, 3.0, 4.0, 1.0])
    game = CountingGame(FunctionGame(lambda rows: rows @ worth, 5))
    found = shortened_ppl(game, [1, 3, 4])
    assert found.sets == {1: (2,), 3: (1, 2, 3), 4: (0, 1, 2, 3)}
    assert found.evaluations == len(game.seen) == 5
    assert shortened_ppl(game, [2], ends=[4]).sets == {2: (0, 2)}
    with pytest.raises(ValueError, match="players are 0 to 4"):
        shortened_ppl(game, [2], ends=[5])
    with pytest.raises(ValueError, match="depth must be at least 1"):
        ends_kept(0)


def test_rescoring_follows_the_scores_of_what_is_left():
    asked = []

    def score(removed):
        asked.append(removed)
        # 3 is lowest at first; without it 0 is, whom nobody would have removed second.
        return np.array([9.0, 2.0, 3.0, 1.0]) if not removed else np.array([0.5, 2.0, 3.0, 0.0])

    found = rescored_removal(score, 4, [1, 2, 3])
    assert asked == [(), (3,), (0, 3)]
    assert found.sets == {1: (3,), 2: (0, 3), 3: (0, 1, 3)}
    assert found.evaluations == 3
    assert rescored_removal(score, 4, [2], protected=[3]).sets == {2: (0, 1)}
    with pytest.raises(ValueError, match="between 1 and 3"):
        rescored_removal(score, 4, [4], protected=[3])
    with pytest.raises(ValueError, match="return 5 numbers"):
        rescored_removal(score, 5, [1])


def test_rescoring_by_utilities_is_greedy_removal():
    from shapley import greedy_removal

    game = smooth(10, 2)

    def cost(removed):
        rows = np.stack([without(10, [*removed, player]) for player in range(10)])
        return -game(rows)

    found = rescored_removal(cost, 10, range(1, 8)).sets
    assert found == {k: c.removed for k, c in greedy_removal(game, range(1, 8)).items()}


def test_evopress_finds_the_best_sets_of_a_smooth_game():
    game = smooth(10, 3)
    found = evopress(WholeGame(game), [2, 5], seed=0)
    assert found.sets == {count: best(game, count) for count in (2, 5)}
    assert found.evaluations < 2**10


def test_evopress_repeats_with_its_seed():
    game = Text(12, 8, 0.05)
    assert evopress(game, [3], 1) == evopress(Text(12, 8, 0.05), [3], 1)
    draws = {evopress(Text(12, 8, 0.5), [5], seed, budget=4).sets[5] for seed in range(6)}
    assert len(draws) > 1


@pytest.mark.parametrize("budget", [3, 10.5, 60, 700])
@pytest.mark.parametrize("parts", [1, 8])
def test_evopress_pays_for_parts_once_and_keeps_its_budget(budget, parts):
    game = Text(12, parts, 0.02)
    found = evopress(game, [1, 4, 6], 5, budget=budget)
    assert [len(found.sets[count]) for count in (1, 4, 6)] == [1, 4, 6]
    assert found.evaluations == len(game.pairs) / parts
    assert found.evaluations <= budget
    assert budget > 600 or found.evaluations > 0.7 * budget


def test_evopress_gets_better_with_more_budget():
    game = Text(14, 4, 0.05)
    whole = np.arange(4)

    def reached(budget):
        sets = [evopress(game, [6], seed, budget).sets[6] for seed in range(4)]
        return game(np.stack([without(14, removed) for removed in sets]), whole).mean()

    assert reached(10) < reached(60) <= reached(600) + 1e-9


def test_evopress_ends_where_nothing_is_left_to_see():
    game = random_table(4, 0)
    found = evopress(WholeGame(game), [2, 3, 4], 0, budget=1e6)
    assert found.sets == {count: best(game, count) for count in (2, 3, 4)}
    assert found.evaluations == 6 + 4 + 1


def test_evopress_mutates_by_few_switches():
    class Watch(WholeGame):
        def __call__(self, coalitions, parts):
            batches.append(coalitions)
            return super().__call__(coalitions, parts)

    batches = []
    settings = EvoPress(offspring=6, initial=1, survivors=(1,), shares=(1.0,), generations=4)
    evopress(Watch(smooth(20)), [8], 0, settings=settings)
    assert [len(batch) for batch in batches] == [1, 7, 7, 7, 7]
    switches = []
    for parent, *children in batches[1:]:
        switches += [int((child & ~parent).sum()) for child in children]
    assert all(batch.sum() == 12 * len(batch) for batch in batches)
    assert set(switches) <= {1, 2, 3}
    assert switches.count(1) > switches.count(3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"survivors": (2,)}, "as many as the shares"),
        ({"survivors": (4, 2)}, "end with 1"),
        ({"offspring": 0}, "at least 1"),
        ({"initial_share": 0.0}, "above 0"),
    ],
)
def test_settings_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        EvoPress(**change)


def test_bad_counts_and_budgets():
    game = smooth(5)
    with pytest.raises(ValueError, match="between 1 and 5"):
        single_ablation(game, [6])
    with pytest.raises(ValueError, match="at least one number"):
        in_order([0, 1], [])
    with pytest.raises(ValueError, match="each of 3 counts, got 2"):
        evopress(WholeGame(game), [1, 2, 3], 0, budget=2)


def test_the_meter_prices_what_is_new():
    meter = PartMeter(Text(6, 4))
    rows = np.stack([without(6, [1]), without(6, [2])])
    assert meter.price(rows, np.array([0, 2])).tolist() == [2, 2]
    meter(rows[:1], np.array([0, 2]))
    assert meter.price(rows, np.array([2, 3])).tolist() == [1, 2]
    meter(rows, np.array([2, 3]))
    assert meter.evaluations == 5 / 4
