from __future__ import annotations

import numpy as np
import pytest

from sampling import enumerate_all
from shapley import (
    FunctionGame,
    Game,
    Status,
    Values,
    exact_values,
    group_sums,
    grouped,
    permutation_values,
    regression_values,
    start,
)
from tests.support.shapley_games import CountingGame, additive, pairwise, random_table

GROUPS = {"front": [0, 1], "middle": [4, 2, 3], "back": [5]}


def test_a_group_is_kept_or_removed_whole():
    game = CountingGame(random_table(6, 0))
    teams = grouped(game, GROUPS)
    assert isinstance(teams, Game)
    assert teams.players == ("front", "middle", "back")
    rows = np.array([[True, False, True], [False, True, False]])
    inner = np.array([[1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 0]], dtype=bool)
    np.testing.assert_array_equal(teams(rows), game.game(inner))
    assert game.rows == 2
    whole = exact_values(teams)
    span = game.game.values[-1] - game.game.values[0]
    assert whole.values.sum() == pytest.approx(span)
    assert regression_values(teams, 8).status is Status.EXACT


def test_additive_groups_are_worth_their_members():
    game, worth = additive(6)
    expected = [worth[members].sum() for members in GROUPS.values()]
    np.testing.assert_allclose(exact_values(grouped(game, GROUPS)).values, expected)
    np.testing.assert_allclose(group_sums(exact_values(game), GROUPS).values, expected)


def test_substitutes_are_worth_more_as_a_unit():
    # Either of players 0 and 1 does the work, and player 2 is needed too.
    game = FunctionGame(lambda kept: ((kept[:, 0] | kept[:, 1]) & kept[:, 2]).astype(float), 3)
    pair = {"either": [0, 1], "other": [2]}
    np.testing.assert_allclose(exact_values(grouped(game, pair)).values, [1 / 2, 1 / 2])
    np.testing.assert_allclose(group_sums(exact_values(game), pair).values, [1 / 3, 2 / 3])


def test_pairs_of_a_quadratic_game_go_to_the_groups():
    game, values, _ = pairwise(6, 3)
    # A pair inside a group is the group's; one between groups is halved, as between players.
    np.testing.assert_allclose(
        exact_values(grouped(game, GROUPS)).values,
        [values[members].sum() for members in GROUPS.values()],
    )


def test_errors_of_sums():
    game, n = random_table(6, 1), 6
    values = permutation_values(game, 50, seed=0)
    assert values.status is Status.ESTIMATED
    sums = group_sums(values, GROUPS)
    assert sums.standard_errors[2] == pytest.approx(values.standard_errors[5])
    assert sums.standard_errors[0] == pytest.approx(np.hypot(*values.standard_errors[:2]))
    assert sums.upper[2] == pytest.approx(values.upper[5])
    assert (sums.status, sums.spent, sums.kind) == (values.status, values.spent, "shapley")
    against = np.diag(values.standard_errors**2)
    against[0, 1] = against[1, 0] = -values.standard_errors[0] * values.standard_errors[1]
    together = group_sums(values, GROUPS, against)
    apart = abs(values.standard_errors[0] - values.standard_errors[1])
    assert together.standard_errors[0] == pytest.approx(apart)
    with pytest.raises(ValueError, match=r"covariance must be \[6, 6\]"):
        group_sums(values, GROUPS, np.eye(n - 1))


def test_errors_that_are_not_known_stay_in_their_group():
    errors = np.array([0.1, 0.2, np.nan, 0.1, 0.1, 0.3])
    values = Values.build(
        start([f"p{i}" for i in range(6)]).players,
        np.arange(6.0),
        errors,
        method="given",
        status=Status.ESTIMATED,
        spent=1,
        budget=None,
    )
    found = group_sums(values, GROUPS).standard_errors
    assert np.isnan(found).tolist() == [False, True, False]


def test_every_player_is_in_one_group():
    game = random_table(4, 0)
    for groups, message in (
        ({"a": [0, 1]}, "p2 is in none"),
        ({"a": [0, 1, 2], "b": [2, 3]}, "p2 twice"),
        ({"a": [0, 1, 2, 3], "b": []}, "'b' without members"),
        ({"a": [0, 1, 2, 4]}, "players are 0 to 3"),
    ):
        with pytest.raises(ValueError, match=message):
            grouped(game, groups)
        with pytest.raises(ValueError, match=message):
            group_sums(exact_values(game), groups)
    one = grouped(game, {f"g{i}": [i] for i in range(4)})
    np.testing.assert_array_equal(one(enumerate_all(4)), game(enumerate_all(4)))
