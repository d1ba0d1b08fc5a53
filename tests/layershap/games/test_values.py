"""`layershap game values`: right values, honest spend, one line for every bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from layershap.cli import commands
from layershap.games.estimators import METHODS
from shapley import TableGame, exact_values, tabulate
from tests.support.game_commands import answer, call, empty_directory, module, refused, saved
from tests.support.shapley_games import random_table, smooth

MODULE = """
import numpy as np

WORTH = np.array([3.0, 1.0, 0.5, 2.0, -1.0])
NAMES = ("a", "b", "c", "d", "e")
asked = []


def plain(kept):
    assert kept.dtype == bool and kept.ndim == 2
    asked.extend(map(bytes, kept))
    pairs = 2.0 * (kept[:, 1] & kept[:, 2]) + 0.3 * kept.sum(axis=1) ** 2
    answer = kept @ WORTH - pairs
    kept[:] = False  # a careless game may write into what it is given
    return answer


class Object:
    players = NAMES

    def __call__(self, kept):
        return plain(kept)


class Theirs:
    n_players = 5
    player_name_lookup = {name: place for place, name in enumerate(NAMES)}

    def __call__(self, kept):
        return plain(kept)


class Nested:
    inner = Object()


def named(kept):
    return plain(kept)


def numbered(kept):
    return plain(kept)


def made():
    print("making a game")
    return Object()


named.players = list(NAMES)
numbered.players = 5
instance = Object()
theirs = Theirs()
"""


here = pytest.fixture(empty_directory)


def test_a_whole_table_is_exact(here):
    table = random_table(5, 1)
    found = answer("--table", saved(here, table.values))
    expected = exact_values(table)
    np.testing.assert_allclose(found["values"], expected.values)
    assert found["players"] == list(expected.players)
    assert found["standard_errors"] == [0] * 5
    assert found["intervals"] == [[value, value] for value in found["values"]]
    assert (found["evaluations"], found["budget"], found["seed"]) == (32, 32, 0)
    assert (found["exact"], found["status"], found["method"]) == (True, "EXACT", "exact")
    assert answer("--table", "table.npy", "--budget", 99)["values"] == found["values"]


def test_a_part_of_a_table_is_an_estimate_with_intervals(here):
    game = smooth(9, seed=2)
    table = saved(here, tabulate(game))
    found = answer("--table", table, "--budget", 120, "--seed", 5)
    exact = exact_values(game).values
    errors = np.array(found["standard_errors"])
    assert (found["evaluations"], found["budget"], found["exact"]) == (120, 120, False)
    assert sum(found["values"]) == pytest.approx(exact.sum())
    assert (errors > 0).all()
    assert (np.abs(found["values"] - exact) < 5 * errors + 1e-3).all()
    for value, (lower, upper) in zip(found["values"], found["intervals"], strict=True):
        assert lower < value < upper
    assert answer("--table", table, "--budget", 120, "--seed", 5) == found
    assert answer("--table", table, "--budget", 120, "--seed", 6)["values"] != found["values"]


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", "u1"])
def test_any_real_table_is_taken(dtype, here):
    values = np.arange(16).astype(dtype) ** 2
    found = answer("--table", saved(here, values))
    assert found["values"] == pytest.approx(exact_values(TableGame(values)).values.tolist())


@pytest.mark.parametrize("method", [name for name in METHODS if name != "exact"])
def test_every_method_keeps_to_its_budget(method, here):
    game = smooth(8, seed=3)
    table = saved(here, tabulate(game))
    found = answer("--table", table, "--method", method, "--budget", 90)
    assert found["evaluations"] == 90
    exact = exact_values(game).values
    assert np.square(found["values"] - exact).sum() < 0.1 * np.square(exact).sum()
    assert answer("--table", table, "--method", method, "--budget", 256)["exact"]


def test_without_standard_errors_there_are_nulls(here):
    table = saved(here, random_table(6, 0).values)
    found = answer("--table", table, "--method", "regression", "--budget", 8)
    assert found["standard_errors"] == [None] * 6
    assert found["intervals"] == [[None, None]] * 6
    _, out, _ = call("--table", table, "--method", "regression", "--budget", 8)
    assert "Without standard errors" in out


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.arange(6.0), "2^n utilities, got 6"),
        (np.arange(1.0), "2^n utilities, got 1"),
        (np.zeros((4, 4)), "one dimension, got shape [4, 4]"),
        (np.array(3.0), "one dimension"),
        (np.array([0, 1, np.nan, 2]), "nan at position 2"),
        (np.array([0, 1, 2, -np.inf]), "-inf at position 3"),
        (np.array([0, 1e200]), "below 1e+150"),
        (np.zeros(4, dtype=complex), "real numbers, got complex128"),
        (np.array(["a", "b"]), "real numbers, got <U1"),
        (np.array([1.0, None]), "never unpickled"),
    ],
)
def test_bad_tables_are_one_line(values, said, here):
    np.save(here / "bad.npy", values, allow_pickle=True)
    line = refused("--table", "bad.npy", "--budget", 20)
    assert "--table bad.npy" in line
    assert said in line


def test_bad_files_are_one_line(here):
    assert "not found" in refused("--table", "missing.npy")
    (here / "text.npy").write_text("1,2,3,4\n")
    assert "no .npy file" in refused("--table", "text.npy")
    (here / "empty.npy").write_bytes(b"")
    assert "empty" in refused("--table", "empty.npy")
    whole = saved(here, np.arange(64.0)).read_bytes()
    (here / "cut.npy").write_bytes(whole[:-100])
    assert "damaged" in refused("--table", "cut.npy")
    assert "cannot be read" in refused("--table", here)
    np.lib.format.open_memmap(here / "big.npy", mode="w+", dtype=np.int8, shape=(1 << 25,))
    assert "25 players, the most is 24" in refused("--table", "big.npy")


@pytest.mark.parametrize(
    "arguments",
    [
        ["instance"],
        ["Object"],
        ["made"],
        ["named"],
        ["theirs"],
        ["Nested.inner"],
        ["plain", "--players", "a,b, c,d,e"],
        ["plain", "--players", "names.txt"],
        ["numbered", "--players", "names.txt"],
    ],
    ids=" ".join,
)
def test_many_kinds_of_games(arguments, here):
    module(here, MODULE, "many_games")
    (here / "names.txt").write_text("a\nb\nc\nd\ne\n")
    found = answer("--game", f"many_games:{arguments[0]}", *arguments[1:], "--budget", 20)
    assert found["players"] == ["a", "b", "c", "d", "e"]
    assert found["evaluations"] == 20
    asked = sys.modules["many_games"].asked
    assert len(asked) == 21  # the full coalition once more
    assert len(set(asked)) == 20


def test_all_coalitions_of_a_function_are_measured_once(here):
    module(here, MODULE, "whole_game")
    found = answer("--game", "whole_game:numbered", "--budget", 1000)
    asked = sys.modules["whole_game"].asked
    assert (len(asked), len(set(asked))) == (33, 32)
    assert found["exact"]
    assert found["players"] == ["p0", "p1", "p2", "p3", "p4"]
    # Each player's own worth, less a share of its pair and of 0.3 times the square of the size.
    assert found["values"] == pytest.approx([3 - 1.5, 1 - 2.5, 0.5 - 2.5, 2 - 1.5, -1 - 1.5])
    assert answer("--game", "whole_game:numbered")["exact"]  # 25 a player are more than 32


BAD = """
import numpy as np
count = 0
number = 3

def broken(kept):
    global count
    count += len(kept)
    if count > 6:
        raise ZeroDivisionError("division\\nby zero")
    return kept.sum(axis=1)

def shaped(kept): return np.zeros((len(kept), 1))
def scalar(kept): return 1.0
def words(kept): return np.array(["x"] * len(kept))
def imaginary(kept): return kept.sum(axis=1) * 1j
def missing(kept): return np.where(kept.all(axis=1), np.nan, 1.0)
def nothing(): return None
def failing(): raise RuntimeError("no model here")
def leaving(kept): raise SystemExit(3)
def wild(kept): return np.random.default_rng().normal(size=len(kept))
def drifting(kept):
    global count
    count += 1
    return kept.sum(axis=1) + 0.001 * count
def rounded(kept):
    global count
    count += 1
    return kept.sum(axis=1) * (1 + 1e-9 * count)
class Twice:
    players = ("a", "a")
    def __call__(self, kept): return kept.sum(axis=1)
"""


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "raised ZeroDivisionError: division by zero"),
        ("shaped", "float64 [1, 1]; return one real number a row"),
        ("scalar", "return one real number a row"),
        ("words", "return one real number a row"),
        ("imaginary", "return one real number a row"),
        ("missing", "answered nan when only [x, y, z] are kept"),
        ("nothing", "made a NoneType, which is no game"),
        ("failing", "RuntimeError: no model here"),
        ("leaving", "raised SystemExit: 3"),
        ("number", "is a int; name a game or a function"),
        ("Twice", "'a' twice"),
        ("brokn", "the nearest name is broken"),
        ("wild", "is not deterministic"),
        ("drifting", "is not deterministic"),
    ],
)
def test_games_that_fail_are_one_line(name, said, here):
    module(here, BAD, "bad_games")
    line = refused("--game", f"bad_games:{name}", "--players", "x,y,z", "--budget", 8)
    assert f"--game bad_games:{name}" in line
    assert said in line


def test_games_that_cannot_be_imported_are_one_line(here):
    module(here, BAD, "bad_games")
    module(here, "import nothing_of_the_kind", "needy")
    module(here, "def broken(:", "unparsed")
    assert "no module nowhere" in refused("--game", "nowhere:f")
    assert "must be module:name" in refused("--game", "bad_games")
    assert "write bad_games:f" in refused("--game", "./bad_games.py:f")
    assert "No module named 'nothing_of_the_kind'" in refused("--game", "needy:f")
    assert "SyntaxError" in refused("--game", "unparsed:f")
    assert "give --players" in refused("--game", "bad_games:broken")


def test_rounding_is_no_lack_of_determinism(here):
    module(here, BAD, "rounding")
    found = answer("--game", "rounding:rounded", "--players", 3, "--budget", 8)
    assert found["values"] == pytest.approx([1, 1, 1], rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", 6], "--budget 6: must be at least n + 2 = 7 for 5 players"),
        (["--budget", 0], "--budget 0"),
        (["--seed", -1], "--seed -1"),
        (["--seed", 2**63], "--seed"),
        (["--method", "regresion"], "nearest: regression"),
        (["--method", "exact", "--budget", 31], "all 2^n = 32"),
        (["--target-se", 0], "--target-se 0"),
        (["--target-se", 1, "--method", "exact"], "exact values have no errors"),
        (["--target-se", "nan"], "--target-se nan"),
        (["--players", "a,b"], "all 5 players of the game, got 2"),
        (["--players", "a,b,c,d,a"], "'a' twice"),
        (["--players", ","], "holds no names"),
        (["--players", "0"], "at least 1 player"),
        (["--game", "m:f"], "exactly one of"),
        (["--state", "none/x.npz"], "--state none/x.npz: cannot be written"),
    ],
)
def test_bad_options_are_one_line(arguments, said, here):
    table = saved(here, random_table(5, 0).values)
    assert said in refused("--table", table, *arguments)


def test_small_games_may_have_small_budgets(here):
    table = saved(here, np.array([0.0, 2.0]))
    assert "2^n = 2" in refused("--table", table, "--budget", 1)
    assert answer("--table", table, "--budget", 2)["values"] == [2.0]


def test_a_game_is_named(here):
    assert "game values: name exactly one of --table" in refused()


def test_a_target_is_reached_with_as_little_as_it_takes(here):
    table = saved(here, tabulate(smooth(10, seed=1)))
    arguments = ["--table", table, "--method", "regression"]
    rough = answer(*arguments, "--target-se", 0.05)
    fine = answer(*arguments, "--target-se", 0.01, "--budget", 900)
    for found, target in ((rough, 0.05), (fine, 0.01)):
        assert found["target_reached"] is True
        assert max(found["standard_errors"]) <= target
        assert found["advised_budget"] is None
    assert rough["evaluations"] < fine["evaluations"] < 900


def test_a_target_out_of_reach_comes_with_advice(here):
    table = saved(here, tabulate(smooth(12, seed=1)))
    arguments = ["--table", table, "--method", "regression", "--target-se", 0.003, "--budget", 150]
    found = answer(*arguments)
    assert found["target_reached"] is False
    assert found["evaluations"] == 150
    assert 150 < found["advised_budget"] <= 4096
    status, _, err = call(*arguments)
    assert status == 0
    assert "--target-se 0.003 is not reached" in err
    assert f"--budget {found['advised_budget']}" in err


def test_the_text_says_what_a_person_wants_to_know(here):
    table = saved(here, tabulate(smooth(8, seed=3)))
    names = "ant,bee,cat,dog,eel,fox,gnu,hen"
    status, out, _ = call("--table", table, "--budget", 60, "--players", names)
    found = answer("--table", table, "--budget", 60, "--players", names)
    assert status == 0
    least = [found["players"][i] for i in np.argsort(found["values"])[:3]]
    for i, name in enumerate(names.split(",")):
        assert f"│ {name}" in out
        assert f"{found['values'][i]:+.4f}" in out
    assert out.split("Least valuable: ")[1].startswith(least[0])
    for name in least:
        assert f"{name} is among the 3 least valuable: " in out
    assert found["status_text"] in out
    assert "Evaluated 60 of 256 sets" in out


def test_progress_goes_to_standard_error_with_the_time_left(here, monkeypatch):
    monkeypatch.setattr("layershap.terminal.console._LINE_EVERY", 0.0)
    module(here, MODULE.replace("    answer = kept", "    print(1)\n    answer = kept"), "shown")
    status, out, err = call("--game", "shown:instance", "--budget", 20, "--json")
    assert status == 0
    assert json.loads(out)["evaluations"] == 20
    assert "measuring 9/20" in err
    assert "left)" in err


def test_help_tells_methods_and_the_extra_evaluation():
    shown = " ".join(CliRunner().invoke(commands, ["game", "values", "--help"]).output.split())
    for method in METHODS:
        assert method in shown
    assert "evaluated once more" in shown


def test_it_starts_without_the_heavy_rooms(here):
    saved(here, random_table(8, 0).values)
    code = (
        "import sys; from layershap.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'ray', 'transformers', 'jax', 'sklearn', 'decoder', 'cluster'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "game",
        "values",
        "--table",
        "table.npy",
        "--budget",
        "60",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[-1] == "[]"
