from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from shapley import (
    Status,
    Values,
    exact_banzhaf,
    exact_restricted,
    exact_values,
    permutation_values,
)
from tests.support.shapley_games import additive, glove, majority, pairwise, random_table, unanimity


def by_permutations(game):
    """Shapley values by the definition: all n! orders."""
    n = len(game.players)
    total = np.zeros(n)
    for order in itertools.permutations(range(n)):
        kept, before = np.zeros((1, n), dtype=bool), game(np.zeros((1, n), dtype=bool))[0]
        for player in order:
            kept[0, player] = True
            after = game(kept)[0]
            total[player] += after - before
            before = after
    return total / math.factorial(n)


def test_closed_forms():
    game, worth = additive(9)
    np.testing.assert_allclose(exact_values(game).values, worth, atol=1e-12)
    game, values, _ = pairwise(9)
    np.testing.assert_allclose(exact_values(game).values, values, atol=1e-12)
    np.testing.assert_allclose(exact_values(glove()).values, [2 / 3, 1 / 6, 1 / 6], atol=1e-12)
    np.testing.assert_allclose(exact_values(majority(7)).values, np.full(7, 1 / 7), atol=1e-12)
    shares = exact_values(unanimity(6, (1, 4))).values
    np.testing.assert_allclose(shares, [0, 0.5, 0, 0, 0.5, 0], atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_random_tables_follow_the_definition(n):
    game = random_table(n, 4)
    result = exact_values(game)
    np.testing.assert_allclose(result.values, by_permutations(game), atol=1e-12)
    assert (result.status, result.spent, result.kind) == (Status.EXACT, 2**n, "shapley")
    assert result.values.sum() == pytest.approx(game.values[-1] - game.values[0])


def test_banzhaf_of_majority():
    swing = math.comb(6, 3) / 2**6
    np.testing.assert_allclose(exact_banzhaf(majority(7)).values, np.full(7, swing), atol=1e-12)


def test_restricted_values_follow_the_definition():
    n, r = 6, 3
    game = random_table(n, 5)
    expected = np.zeros(n)
    for player in range(n):
        for removed in range(1, r + 1):
            gains = []
            for others in itertools.combinations(set(range(n)) - {player}, removed - 1):
                rows = np.ones((2, n), dtype=bool)
                rows[:, list(others)] = False
                rows[1, player] = False
                with_player, without_player = game(rows)
                gains.append(with_player - without_player)
            expected[player] += np.mean(gains) / r
    result = exact_restricted(game.values, r)
    np.testing.assert_allclose(result.values, expected, atol=1e-12)
    assert result.kind == "restricted:3"
    np.testing.assert_allclose(
        exact_restricted(game, n).values, exact_values(game).values, atol=1e-12
    )
    with pytest.raises(ValueError, match="between 1 and n"):
        exact_restricted(game, 7)


def test_exact_values_respect_the_budget():
    with pytest.raises(ValueError, match="at least 2\\^n = 64"):
        exact_values(random_table(6, 0), budget=63)
    with pytest.raises(ValueError, match="stops at 22"):
        exact_values(additive(23)[0])


def test_values_survive_json():
    for result in (exact_values(glove()), permutation_values(random_table(6, 0), 8)):
        text = json.dumps(result.to_dict(), allow_nan=False)
        back = Values.from_dict(json.loads(text))
        for name in ("values", "standard_errors", "lower", "upper"):
            np.testing.assert_array_equal(getattr(back, name), getattr(result, name))
        assert back.to_dict() == result.to_dict()
        assert back.status is result.status
    with pytest.raises(ValueError, match="no valid entry"):
        Values.from_dict({"players": []})


def test_ranking_is_ascending():
    game, worth = additive(8)
    assert exact_values(game).ranking().tolist() == np.argsort(worth).tolist()
    for status in Status:
        assert status.value.endswith(".")
