"""What `layershap values --state` keeps: all measurements, through failures, kills and damage."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shapley import exact_values
from tests.support.game_commands import answer, call, empty_directory, module, refused, saved
from tests.support.shapley_games import random_table

here = pytest.fixture(empty_directory)

COUNTED = """
import os, signal, time
import numpy as np

WORTH = np.linspace(-1.0, 2.0, 8)

def quality(kept):
    with open("asked.txt", "a+") as file:
        for row in kept:
            file.write("".join("01"[int(bit)] for bit in row) + "\\n")
        file.seek(0)
        count = len(file.readlines())
    if count > int(os.environ.get("LIMIT", "1000")):
        how = os.environ["HOW"]
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {"raise": RuntimeError, "interrupt": KeyboardInterrupt}[how]("the machine is tired")
    if "SLOW" in os.environ:
        time.sleep(0.15)
    gone = ~kept
    return np.exp(-(gone @ np.abs(WORTH)) / 3) + kept @ WORTH / 10

quality.players = 8
"""


@pytest.mark.parametrize("method", ["default", "regression", "neyman"])
@pytest.mark.parametrize("limit", [1, 33, 75])
def test_what_was_measured_is_kept_and_gone_on_from(method, limit, here, monkeypatch):
    module(here, COUNTED, "counted")
    arguments = ["--game", "counted:quality", "--budget", 90, "--method", method, "--seed", 4]
    expected = answer(*arguments)
    (here / "asked.txt").unlink()
    monkeypatch.setenv("LIMIT", str(limit))
    monkeypatch.setenv("HOW", "raise")
    assert "RuntimeError: the machine is tired" in refused(*arguments, "--state", "s.npz")
    monkeypatch.delenv("LIMIT")
    with np.load("s.npz", allow_pickle=False) as kept:
        done = len(kept["utilities"])
    assert done <= limit
    rows = (here / "asked.txt").read_text().split()
    (here / "asked.txt").write_text("".join(row + "\n" for row in rows[:done]))
    assert answer(*arguments, "--state", "s.npz") == expected
    rows = (here / "asked.txt").read_text().split()
    assert (len(rows), len(set(rows))) == (91, 90)  # none but the full coalition twice
    assert answer(*arguments, "--state", "s.npz") == expected
    assert len((here / "asked.txt").read_text().split()) == 92


def test_a_killed_command_goes_on(here, monkeypatch):
    module(here, COUNTED, "killed")
    arguments = ["--game", "killed:quality", "--budget", 60, "--method", "regression"]
    expected = answer(*arguments)
    (here / "asked.txt").unlink()
    monkeypatch.setenv("LIMIT", "50")
    monkeypatch.setenv("HOW", "kill")
    monkeypatch.setenv("SLOW", "1")
    command = [sys.executable, "-m", "layershap", "game", "values", *map(str, arguments)]
    ended = subprocess.run([*command, "--state", "s.npz"], capture_output=True, timeout=60)
    assert ended.returncode == -9
    monkeypatch.delenv("LIMIT")
    monkeypatch.delenv("SLOW")
    with np.load("s.npz", allow_pickle=False) as kept:
        assert len(kept["utilities"]) >= 9
    assert answer(*arguments, "--state", "s.npz") == expected


def test_an_interrupted_command_keeps_what_it_has(here, monkeypatch):
    module(here, COUNTED, "interrupted")
    monkeypatch.setenv("LIMIT", "30")
    monkeypatch.setenv("HOW", "interrupt")
    status, out, err = call("--game", "interrupted:quality", "--state", "s.npz")
    assert (status, out) == (130, "")
    assert "s.npz keeps" in err
    assert "without --state" in call("--game", "interrupted:quality")[2]


def test_a_file_of_something_else_is_refused(here):
    table = saved(here, random_table(6, 0).values)
    other = saved(here, random_table(6, 1).values, "other.npy")
    mine = ["--state", "s.npz", "--budget", 20]
    first = answer("--table", table, *mine)
    before = Path("s.npz").read_bytes()
    assert "another seed (0)" in refused("--table", table, *mine, "--seed", 1)
    assert "another game" in refused("--table", other, *mine)
    assert "other players" in refused("--table", table, *mine, "--players", "a,b,c,d,e,f")
    assert "another method (default)" in refused("--table", table, *mine, "--method", "neyman")
    assert Path("s.npz").read_bytes() == before
    copy = saved(here, np.load(table).astype(">f8"), "copy.npy")
    assert answer("--table", copy, *mine) == first  # the same utilities are the same game


@pytest.mark.parametrize("cut", [0, 10, 500, -30])
def test_a_damaged_file_is_refused(cut, here):
    table = saved(here, random_table(6, 0).values)
    answer("--table", table, "--state", "s.npz", "--budget", 20)
    whole = Path("s.npz").read_bytes()
    Path("s.npz").write_bytes(whole[:cut])
    assert "damaged" in refused("--table", table, "--state", "s.npz", "--budget", 20)


@pytest.mark.parametrize("name", ["coalitions", "due", "utilities"])
def test_a_file_with_wrong_content_is_refused(name, here):
    table = saved(here, random_table(6, 0).values)
    answer("--table", table, "--state", "s.npz", "--budget", 20)
    with np.load("s.npz") as found:
        content = dict(found)
    wrong = content["coalitions"][:1] if name == "due" else content[name][:-1]
    np.savez("s.npz", **{**content, name: wrong})
    assert "damaged" in refused("--table", table, "--state", "s.npz", "--budget", 20)
    np.save("plain.npz.npy", np.zeros(3))
    Path("plain.npz.npy").rename("s.npz")
    assert "damaged" in refused("--table", table, "--state", "s.npz", "--budget", 20)


def test_more_budget_goes_on_to_exact_values(here):
    table = random_table(6, 3)
    path = saved(here, table.values)
    assert answer("--table", path, "--state", "s.npz", "--budget", 20)["evaluations"] == 20
    found = answer("--table", path, "--state", "s.npz", "--budget", 64)
    assert (found["evaluations"], found["exact"]) == (64, True)
    np.testing.assert_allclose(found["values"], exact_values(table).values)
