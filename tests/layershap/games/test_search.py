"""`layershap game search`: the best sets, honest spend, one line for every bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sampling import enumerate_all
from tests.support import command_line
from tests.support.game_commands import empty_directory, module, saved

GAME = """
import numpy as np

asked = []


def quality(kept):
    asked.extend(map(bytes, kept))
    gone = ~kept
    return -(gone @ np.array([5.0, 0.1, 0.3, 0.2, 0.4, 0.6])) + 0.25 * (gone[:, 2] & gone[:, 4])


quality.players = ("embed", "b", "c", "d", "e", "head")


def broken(kept):
    return np.full(len(kept), np.nan)


broken.players = 4
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    yield from empty_directory(tmp_path, monkeypatch)


@pytest.fixture
def table(folder):
    """Nine players: costs, pairs, and one player without whom nothing works."""
    rng = np.random.default_rng(4)
    gone = (~enumerate_all(9)).astype(float)
    pairs = np.triu(rng.normal(0, 0.15, (9, 9)), 1)
    values = -(gone @ rng.gamma(2.0, 0.1, 9)) - 4 * gone[:, 3] - ((gone @ pairs) * gone).sum(axis=1)
    return saved(folder, values), values


def answer(*arguments):
    status, out, err = command_line.call("game", "search", *arguments, "--json")
    assert status == 0, err
    assert out.count("\n") == 1
    return json.loads(out)


def refused(*arguments):
    status, out, err = command_line.call("game", "search", *arguments)
    assert status == 2, err
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("layershap: ")
    return line


def test_the_best_sets_of_a_table_are_found(table):
    path, values = table
    found = answer("--table", path, "--budget", "120", "--count", "1-4", "--seed", "2")
    assert found["evaluations"] <= 120
    assert [one["count"] for one in found["sets"]] == [1, 2, 3, 4]
    kept = enumerate_all(9)
    for one in found["sets"]:
        assert one["measured"] is True
        assert len(one["removed"]) == one["count"]
        position = sum(1 << player for player in range(9) if player not in one["removed"])
        assert one["utility"] == values[position]
        assert one["utility"] == values[(~kept).sum(axis=1) == one["count"]].max()
        assert one["names"] == [f"p{player}" for player in one["removed"]]
    assert answer("--table", path, "--budget", "120", "--count", "1-4", "--seed", "2") == found


def test_limits_are_kept(table):
    path, _ = table
    found = answer("--table", path, "--count", "2,3", "--contiguous", "--protect", "p1,8")
    for one in found["sets"]:
        assert not {1, 8} & set(one["removed"])
        assert one["removed"][-1] - one["removed"][0] == one["count"] - 1
    nested = [set(one["removed"]) for one in answer("--table", path, "--nested")["sets"]]
    assert nested[0] < nested[1] < nested[2]


def test_counts_that_limits_forbid_are_not_asked_for_by_default(table):
    path, _ = table
    few = answer("--table", path, "--protect", "0,1,2,3,4,5,6")
    assert [one["count"] for one in few["sets"]] == [1, 2]
    runs = answer("--table", path, "--protect", "1,3,5,8", "--contiguous")
    assert [one["count"] for one in runs["sets"]] == [1, 2]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_smallest_games_are_searched(folder, n):
    values = np.random.default_rng(n).normal(size=1 << n)
    found = answer("--table", saved(folder, values), "--count", f"1-{max(1, n - 1)}")
    gone = (~enumerate_all(n)).sum(axis=1)
    for one in found["sets"]:
        assert one["utility"] == values[gone == one["count"]].max()
    assert found["settled"]


def test_a_game_is_searched_and_resumed(folder):
    name = module(folder, GAME, "searched_game")
    first = answer("--game", f"{name}:quality", "--state", "kept.npz", "--count", "2")
    assert first["sets"][0]["names"] == ["b", "d"]
    import searched_game  # type: ignore[import-not-found]

    assert len(set(searched_game.asked)) == first["evaluations"]
    searched_game.asked.clear()
    assert answer("--game", f"{name}:quality", "--state", "kept.npz", "--count", "2") == first
    assert len(searched_game.asked) == 1  # the check that it answers the same again


def test_a_table_for_people(table):
    status, out, err = command_line.call("game", "search", "--table", table[0], "--budget", "12")
    assert status == 0, err
    assert "The budget ended the search" in out
    assert "Evaluated 12 of 512 sets" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "9"], "there are 9 players; remove 1 to 8"),
        (["--count", "x"], "not a list of counts"),
        (["--remove", "1-2"], "numbers of players are --count, as --count 1-2"),
        (["--budget", "5"], "--budget 5: must be at least 11"),
        (["--seed", "-1"], "--seed -1"),
        (["--protect", "nobody"], "--protect nobody: no such player"),
        (["--protect", "p4", "--contiguous", "--count", "5"], "longest run of free players is 4"),
        (["--protect", "0,1,2,3,4,5,6", "--count", "3"], "between 1 and 2 of 9 players can go"),
        (["--protect", "0,1,2,3,4,5,6,7,8"], "--protect: keeps all of the 9 players; name fewer"),
    ],
)
def test_bad_input_is_one_line(table, arguments, message):
    assert message in refused("--table", table[0], *arguments)


def test_sources_exclude_each_other(table, folder):
    assert "game search: name exactly one of --table" in refused()
    assert "exactly one of" in refused("--game", "a:b", "--table", table[0])
    name = module(folder, GAME, "broken_game")
    assert "return finite utilities" in refused("--game", f"{name}:broken", "--count", "1")
