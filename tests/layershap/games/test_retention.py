"""`layershap game values --retention`: values of retention where the game answers minus a loss."""

from __future__ import annotations

import numpy as np
import pytest

from sampling import stream
from shapley import TableGame, exact_values
from tests.support import game_commands
from tests.support.game_commands import answer, call, module, refused, saved

here = pytest.fixture(autouse=True)(game_commands.empty_directory)

N = 6
LOSSES = 2.0 + 9.0 * stream(1, "retention command", N).random(1 << N)
LOSSES[-1] = 2.0

GAME = """
import numpy as np
players = ("a", "b", "c", "d", "e", "f", "g")
calls = 0

def game(rows):
    gone = (~rows).astype(float)
    loss = 2.0 + gone @ np.linspace(0.1, 3.0, 7) + 0.8 * gone[:, 0] * gone[:, 1]
    with open("asked.txt", "a") as file:
        file.write("x" * len(rows))
    return -loss

game.players = players
"""


def test_a_table_of_losses_has_exact_values_of_retention(here):
    path = saved(here, -LOSSES)
    kept = np.exp(2.0 - LOSSES)
    found = answer("--table", path, "--retention")
    expected = exact_values(TableGame(kept)).values
    np.testing.assert_allclose(found["values"], expected, atol=1e-12)
    assert (found["value_of"], found["whole_utility"]) == ("retention", -2.0)
    assert sum(found["values"]) == pytest.approx(1 - kept[0])
    assert found["exact"]
    raw = answer("--table", path)
    assert (raw["value_of"], raw["whole_utility"]) == ("utility", -2.0)
    np.testing.assert_allclose(raw["values"], exact_values(TableGame(-LOSSES)).values)


@pytest.mark.parametrize("method", ["default", "regression", "permutation", "unbiased"])
def test_estimators_value_the_retention(here, method):
    path = saved(here, -LOSSES)
    truth = answer("--table", path, "--retention")["values"]
    found = answer("--table", path, "--retention", "--budget", 40, "--method", method)
    assert found["evaluations"] <= 40
    assert found["value_of"] == "retention"
    assert np.abs(np.subtract(found["values"], truth)).max() < 0.5


def test_one_file_serves_both_since_what_is_measured_is_raw(here):
    name = module(here, GAME, "losses")
    common = ("--game", f"{name}:game", "--players", "a,b,c,d,e,f,g", "--state", "kept.npz")
    kept = answer(*common, "--budget", 40, "--retention")
    asked = len((here / "asked.txt").read_text())
    raw = answer(*common, "--budget", 40)
    again = answer(*common, "--budget", 40, "--retention")
    assert again == kept
    assert (raw["value_of"], raw["evaluations"]) == ("utility", 40)
    more = len((here / "asked.txt").read_text()) - asked
    assert more == 2, "the full set alone is asked again, once a command"
    gap = -2.0 + 2.0 + np.linspace(0.1, 3.0, 7).sum() + 0.8
    assert sum(raw["values"]) == pytest.approx(gap)
    assert sum(kept["values"]) == pytest.approx(1 - np.exp(-gap))


def test_people_read_percent(here):
    status, out, err = call("--table", saved(here, -LOSSES), "--retention")
    assert status == 0, err
    assert "Shapley values of retention" in out
    assert "Retention is exp(utility - utility of all players)" in out
    assert " %" in out


@pytest.mark.parametrize("budget", [[], ["--budget", 40]])
def test_utilities_that_are_no_losses_are_refused(here, budget):
    line = refused("--table", saved(here, LOSSES), "--retention", *budget)
    assert line.startswith("layershap: --retention: ")
    assert "leave --retention out" in line


@pytest.mark.parametrize("whole", [np.inf, -np.inf, np.nan])
def test_a_whole_game_without_finite_loss_is_refused(here, whole):
    table = -LOSSES
    table[-1] = whole
    assert "finite" in refused("--table", saved(here, table), "--retention")


def test_a_whole_game_without_loss_is_fine(here):
    table = 2.0 - LOSSES
    found = answer("--table", saved(here, table), "--retention")
    assert found["whole_utility"] == 0.0
    assert sum(found["values"]) == pytest.approx(1 - np.exp(table[0]))
