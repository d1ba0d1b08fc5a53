from __future__ import annotations

import numpy as np
import pytest

from sampling import enumerate_all, paired
from shapley import (
    BudgetedGame,
    BudgetExceeded,
    FunctionGame,
    Game,
    ObservedGame,
    TableGame,
    UnknownCoalition,
    evaluate,
    tabulate,
)
from tests.support.shapley_games import CountingGame, additive, random_table


def test_table_game_reads_bits():
    game = TableGame(np.arange(8.0), players=["a", "b", "c"])
    rows = np.array([[True, False, False], [False, True, True]])
    assert game(rows).tolist() == [1.0, 6.0]
    assert tabulate(game).tolist() == list(range(8))
    assert isinstance(game, Game)


def test_table_game_refuses_bad_tables():
    for table in (np.zeros(6), np.zeros((2, 2)), np.zeros(1)):
        with pytest.raises(ValueError, match="2\\^n utilities"):
            TableGame(table)
    with pytest.raises(ValueError, match="finite"):
        TableGame(np.array([0.0, np.nan]))
    with pytest.raises(ValueError, match="name all 1 players"):
        TableGame(np.zeros(2), players=["a", "b"])
    with pytest.raises(ValueError, match="distinct names"):
        TableGame(np.zeros(4), players=["a", "a"])


def test_games_check_the_width_of_coalitions():
    for game in (random_table(4, 0), additive(4)[0], BudgetedGame(random_table(4, 0), 9)):
        with pytest.raises(ValueError, match=r"\[B, 4\]"):
            game(np.ones((2, 5), dtype=bool))
    wrong = FunctionGame(lambda rows: np.zeros((len(rows), 2)), 3)
    with pytest.raises(ValueError, match="one utility a row"):
        wrong(np.ones((2, 3), dtype=bool))


def test_budgeted_game_counts_distinct_coalitions_once():
    inner = CountingGame(random_table(6, 1))
    game = BudgetedGame(inner, 10)
    rows = paired(6, 8, 0)
    twice = game(np.concatenate([rows, rows]))
    assert (twice[:8] == twice[8:]).all()
    assert (twice[:8] == inner.game(rows)).all()
    assert (game.spent, inner.rows, game.remaining) == (8, 8, 2)
    game(rows)
    assert (game.spent, inner.calls) == (8, 1)
    with pytest.raises(BudgetExceeded, match=r"budget of 10 distinct .* raise the budget"):
        game(enumerate_all(6))
    assert (game.spent, inner.rows) == (8, 8)
    unlimited = BudgetedGame(inner, None)
    unlimited(enumerate_all(6))
    assert unlimited.spent == 64


def test_observed_game_refuses_to_guess():
    table = random_table(5, 2)
    rows = paired(5, 12, 0)
    game = ObservedGame(rows, table(rows), table.players)
    assert (game(rows[::-1]) == table(rows[::-1])).all()
    with pytest.raises(UnknownCoalition, match="never measured"):
        game(np.ones((1, 5), dtype=bool))
    with pytest.raises(KeyError):
        game(np.ones((1, 5), dtype=bool))
    with pytest.raises(ValueError, match="two different utilities"):
        ObservedGame(rows[[0, 0]], np.array([1.0, 2.0]))


def test_evaluate_chunks_without_changing_anything():
    inner = CountingGame(random_table(8, 3))
    rows = enumerate_all(8)
    assert (evaluate(inner, rows, chunk=100) == inner.game.values).all()
    assert inner.calls == 3
