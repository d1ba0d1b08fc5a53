"""Games and values cross over to shapiq and back; shapiq's own results are the reference."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from sampling import enumerate_all
from shapley import (
    Interactions,
    Status,
    Values,
    exact_banzhaf,
    exact_interactions,
    exact_restricted,
    exact_values,
)
from shapley.interop import from_interaction_values, from_shapiq, to_interaction_values, to_shapiq
from tests.support.shapley_games import CountingGame, pairwise, random_table


@pytest.fixture
def shapiq() -> Any:
    return pytest.importorskip("shapiq", reason="shapiq is not installed")


class Bare:
    """What the adapters need of a game of shapiq's."""

    n_players = 3

    def __call__(self, coalitions):
        return coalitions @ np.array([1.0, 2.0, 4.0])


class Found:
    """What the adapters need of interaction values of shapiq's."""

    def __init__(self, index, order, entries, n=3, estimated=False, budget=None):
        self.index, self.max_order, self.dict_values = index, order, entries
        self.n_players, self.estimated, self.estimation_budget = n, estimated, budget


def test_a_callable_with_n_players_is_a_game():
    game = from_shapiq(Bare())
    assert game.players == ("p0", "p1", "p2")
    assert exact_values(game).values == pytest.approx([1, 2, 4])
    assert game(np.zeros((0, 3), dtype=bool)).shape == (0,)


@pytest.mark.parametrize("thing", [3, lambda rows: rows, object()])
def test_what_has_no_players_is_refused(thing):
    with pytest.raises(ValueError, match="n_players"):
        from_shapiq(thing)


def test_values_are_read_without_shapiq():
    exact = from_interaction_values(Found("SV", 1, {(): 9.0, (0,): 1.0, (2,): -1.0}), "abc")
    assert isinstance(exact, Values)
    assert (exact.players, exact.status, exact.spent) == (("a", "b", "c"), Status.EXACT, 8)
    assert exact.values.tolist() == [1, 0, -1]
    assert exact.standard_errors.tolist() == [0, 0, 0]
    sampled = from_interaction_values(Found("SV", 1, {(0,): 1.0}, estimated=True, budget=7))
    assert isinstance(sampled, Values)
    assert (sampled.status, sampled.spent, sampled.budget) == (Status.WITHOUT_ERRORS, 7, 7)
    assert np.isnan(sampled.standard_errors).all()


@pytest.mark.parametrize(
    ("found", "order", "said"),
    [
        (Found("STII", 2, {}), None, "no counterpart"),
        (Found("k-SII", 3, {}), None, "no counterpart"),
        (Found("SV", 1, {}), 2, "order must be"),
        (Found("SII", 2, {}), 3, "order must be"),
    ],
)
def test_other_indices_and_orders_are_refused(found, order, said):
    with pytest.raises(ValueError, match=said):
        from_interaction_values(found, order=order)


def test_names_must_fit():
    with pytest.raises(ValueError, match="all 3 players"):
        from_interaction_values(Found("SV", 1, {}), "ab")


def test_a_missing_shapiq_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "shapiq", None)
    with pytest.raises(ImportError, match="pip install shapiq") as caught:
        to_shapiq(random_table(3, 0))
    assert "3.12" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_shapiq_finds_the_values_of_our_game(shapiq):
    game, values, _ = pairwise(5, seed=3)
    theirs = to_shapiq(game)
    rows = enumerate_all(5)
    np.testing.assert_allclose(theirs(rows), game(rows))
    assert list(theirs.player_name_lookup) == list(game.players)
    found = shapiq.ExactComputer(n_players=5, game=theirs)("SV", order=1)
    back = from_interaction_values(found, game.players)
    assert isinstance(back, Values)
    np.testing.assert_allclose(back.values, values, atol=1e-9)


def test_shapiq_estimators_may_write_into_what_our_game_answers(shapiq):
    table = random_table(6, 1)
    before = table.values.copy()
    counted = CountingGame(table)
    found = shapiq.KernelSHAP(6, random_state=1).approximate(60, to_shapiq(counted))
    assert len(counted.seen) <= 60
    assert (table.values == before).all()
    exact = exact_values(table).values
    assert np.abs(from_interaction_values(found).values - exact).max() < np.abs(exact).max() / 2


@pytest.mark.filterwarnings("ignore:Normalization value")
def test_their_game_has_the_same_values_here(shapiq):
    table = random_table(4, 5)

    class Theirs(shapiq.Game):
        def value_function(self, coalitions):
            return table(np.asarray(coalitions, dtype=bool))

    for normalize in (False, True):
        shift = float(table.values[0])
        theirs = Theirs(
            4, normalize=normalize, normalization_value=shift, player_names=["d", "c", "b", "a"]
        )
        ours = from_shapiq(theirs)
        assert ours.players == ("d", "c", "b", "a")
        assert ours(np.zeros((1, 4), dtype=bool))[0] == pytest.approx(0 if normalize else shift)
        reference = shapiq.ExactComputer(n_players=4, game=theirs)("SV", order=1)
        expected = [reference[(i,)] for i in range(4)]
        np.testing.assert_allclose(exact_values(ours).values, expected, atol=1e-9)


@pytest.mark.parametrize(("index", "ours"), [("SV", exact_values), ("BV", exact_banzhaf)])
def test_values_equal_shapiqs_and_come_back(shapiq, index, ours):
    table = random_table(5, 7)
    values = ours(table)
    there = to_interaction_values(values, baseline=float(table.values[0]))
    theirs = shapiq.ExactComputer(n_players=5, game=to_shapiq(table))(index, order=1)
    assert (there.index, there.max_order, there.estimated) == (index, 1, False)
    for i in range(5):
        assert there[(i,)] == pytest.approx(theirs[(i,)], abs=1e-9)
    assert there.baseline_value == pytest.approx(theirs.baseline_value)
    back = from_interaction_values(there)
    assert isinstance(back, Values)
    assert (back.kind, back.status) == (values.kind, Status.EXACT)
    np.testing.assert_allclose(back.values, values.values)


@pytest.mark.parametrize("index", ["SII", "k-SII"])
def test_interactions_equal_shapiqs_and_come_back(shapiq, index):
    table = random_table(5, 9)
    values, matrix = exact_values(table), exact_interactions(table)
    pairs = Interactions(table.players, matrix, np.zeros((5, 5)), 32, Status.EXACT)
    there = to_interaction_values(pairs, values, index=index, baseline=float(table.values[0]))
    theirs = shapiq.ExactComputer(n_players=5, game=to_shapiq(table))(index, order=2)
    assert (there.index, there.max_order, there.estimated) == (index, 2, False)
    for key in [(i,) for i in range(5)] + [(i, j) for i in range(5) for j in range(i + 1, 5)]:
        assert there[key] == pytest.approx(theirs[key], abs=1e-9)
    for found in (there, theirs):
        back = from_interaction_values(found)
        assert isinstance(back, Interactions)
        np.testing.assert_allclose(back.values, matrix, atol=1e-9)
        first = from_interaction_values(found, order=1)
        assert isinstance(first, Values)
        np.testing.assert_allclose(first.values, values.values, atol=1e-9)


def test_what_shapiq_has_no_name_for_is_refused(shapiq):
    table = random_table(3, 0)
    with pytest.raises(ValueError, match="restricted"):
        to_interaction_values(exact_restricted(table, 2))
    pairs = Interactions(
        table.players, exact_interactions(table), np.zeros((3, 3)), 8, Status.EXACT
    )
    with pytest.raises(ValueError, match="k-SII"):
        to_interaction_values(pairs, index="k-SII")
    only_pairs = to_interaction_values(pairs)
    assert only_pairs.min_order == 2
    with pytest.raises(ValueError, match="of the players"):
        to_interaction_values(pairs, exact_values(random_table(4, 0)))
