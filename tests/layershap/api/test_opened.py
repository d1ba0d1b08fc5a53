"""An opened run says what the run directory and the command line say."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from transformers import AutoModelForCausalLM

import layershap
from cluster import Ledger
from decoder import ModelError
from layershap.api.frames import interactions_frame, pairs_frame
from layershap.api.notebook import Card
from layershap.errors import UserError
from layershap.results.values import Values
from shapley import FunctionGame, exact_values
from tests.support.command_line import call


@pytest.fixture
def run(finished_run):
    return layershap.open(finished_run)


def read(run, name):
    return json.loads((run.path / name).read_text())


def test_import_is_light():
    code = (
        "import sys, layershap; layershap.__all__;"
        "print(sorted({'numpy', 'pandas', 'torch', 'jax', 'ray', 'click'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there():
    assert set(layershap.__all__) <= set(dir(layershap))
    assert all(getattr(layershap, name) is not None for name in layershap.__all__)
    with pytest.raises(AttributeError, match="no attribute 'opne'"):
        layershap.opne  # noqa: B018


def test_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no run\.toml"):
        layershap.open(tmp_path)
    with pytest.raises(UserError, match="is not there; name the directory of a run"):
        layershap.open(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; name the directory of a run"):
        layershap.open(tmp_path / "file")


def test_a_home_directory_may_be_written_short(finished_run, monkeypatch):
    monkeypatch.setenv("HOME", str(finished_run.parent))
    assert layershap.open(f"~/{finished_run.name}").path == finished_run


def test_help_tells_what_there_is():
    said = layershap.open.__doc__ or ""
    for name in re.findall(r"run\.(?!toml)(\w+)", said):
        assert hasattr(layershap.OpenedRun, name), name
    assert {"values", "predict", "measure", "export"} <= set(
        re.findall(r"run\.(?!toml)(\w+)", said)
    )


def test_values_are_those_of_the_file(run):
    shapley = read(run, "values.json")["shapley"]
    frame = run.values
    assert list(frame.index) == shapley["players"] == list(run.players)
    assert frame["value"].tolist() == shapley["values"]
    assert frame["lower"].tolist() == shapley["lower"]
    assert (frame["lower"] <= frame["value"]).all()
    assert frame["value"].sort_values().index[0] == frame["rank"].idxmin()
    assert run.unit == "nats per token"
    assert frame.attrs["unit"] == "share of the whole model"
    assert frame.attrs["value_of"] == "retention"
    assert frame.attrs["whole_utility"] == read(run, "values.json")["whole_utility"]
    assert frame.attrs["title"] == "Shapley values of retention"


def test_interactions_are_symmetric_and_pairs_are_sorted(run):
    square, pairs = run.interactions, run.pairs
    assert np.allclose(square, square.T)
    assert len(pairs) == 12 * 11 // 2
    assert pairs["interaction"].abs().is_monotonic_decreasing
    first = pairs.iloc[0]
    assert square.loc[first["first"], first["second"]] == first["interaction"]


def test_interaction_errors_follow_their_pair():
    worth = exact_values(FunctionGame(lambda kept: kept.sum(axis=1), ("a", "b", "c")))
    content = Values(
        fingerprint="toy",
        unit="u",
        utility="nll",
        shapley=worth,
        restricted=worth,
        restricted_to=1,
        interactions=((0, 1, -3), (1, 0, np.nan), (-3, np.nan, 0)),
        interaction_standard_errors=((0, 0.1, 0.3), (0.1, 0, 0.2), (0.3, 0.2, 0)),
    )
    pairs = pairs_frame(content)
    assert pairs.iloc[0].tolist() == ["a", "c", -3.0, 0.3]
    assert pairs.iloc[1].tolist() == ["a", "b", 1.0, 0.1]
    assert np.isnan(pairs.iloc[2]["interaction"])
    assert np.isnan(interactions_frame(content).loc["b", "c"])


def test_recommendations_and_baselines(run):
    content = read(run, "recommendations.json")
    frame, rivals = run.recommendations, run.baselines
    assert list(frame.index) == [1, 2]
    for item in content["recommendations"]:
        row = frame.loc[item["count"]]
        assert [run.players.index(name) for name in row["removed"]] == item["removed"]
        assert row["cost"] == item["difference"]
        assert row["lower"] == item["difference_lower"]
        costs = [rival["difference"] for rival in item["baselines"]]
        assert row["baseline_cost"] == min(costs)
        assert sorted(rivals[rivals["count"] == item["count"]]["cost"]) == sorted(costs)
        assert row["decoding"] > 0
        assert 0 < row["share"] < 1


def test_prediction_is_that_of_the_command_line(run):
    status, out, _ = call("query", run.path, "--remove", "4,6", "--json")
    assert status == 0
    said = json.loads(out)
    found = run.predict(remove=[4, 6])
    assert found.removed == ("L4", "L6")
    assert float(found) == found.value == said["predicted"]
    assert (found.lower, found.upper) == (said["lower"], said["upper"])
    assert found.measured == said["measured"]
    assert found.dense == said["dense"]
    assert found.cost == pytest.approx(found.value - found.dense)
    assert str(found).startswith("without L4, L6:")


def test_many_predictions_are_the_single_ones(run):
    sets = [[4], [4, 6], [], "0-2,5"]
    frame = run.predict(remove=[[4], [4, 6], [], ["0-2", 5]])
    assert isinstance(frame, pd.DataFrame)
    for row, one in zip(frame.to_dict("records"), sets, strict=True):
        single = run.predict(remove=one)
        assert row["removed"] == single.removed
        assert row["value"] == pytest.approx(single.value, abs=1e-9)
    kept = np.ones((3, 12), dtype=bool)
    assert len(run.predict(keep=kept)) == 3


def test_a_wider_level_gives_a_wider_interval(run):
    narrow, wide = run.predict([4], level=0.5), run.predict([4], level=0.9)
    assert wide.upper - wide.lower > narrow.upper - narrow.lower
    for level in (2, "high"):
        with pytest.raises(UserError, match=f"level {level}"):
            run.predict([4], level=level)  # type: ignore[arg-type]


def test_known_measurements_need_no_writer(run):
    item = read(run, "recommendations.json")["recommendations"][0]
    with Ledger(run.directory.ledger):  # somebody else is writing
        found = run.measure(remove=[item["removed"]], text="heldout")
        calibration = run.measure(remove=item["removed"])
    row = found.iloc[0]
    assert row["cost"] == pytest.approx(item["difference"], abs=1e-12)
    assert row["lower"] == pytest.approx(item["difference_lower"], abs=1e-12)
    assert row["value"] == pytest.approx(item["nll"], abs=1e-12)
    assert calibration.cost == pytest.approx(item["calibration_cost"], abs=1e-9)
    assert calibration.text == "calibration"


def test_new_measurements_are_made_and_kept(finished_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    run = layershap.open(copy)
    with Ledger(run.directory.ledger, readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        before = campaign.counts().total
        rows = np.ones((12, 12), dtype=bool)
        rows[:, :3] = False
        rows[np.arange(12), np.arange(12)] = False
        new = rows[campaign.missing(rows)][0]
    found = run.measure(keep=new, progress=False)
    assert found.dense == run.predict([]).dense
    assert found.cost == pytest.approx(found.value - found.dense)
    assert found.lower <= found.cost <= found.upper
    assert run.predict(keep=new).measured == found.value
    with Ledger(run.directory.ledger, readonly=True) as ledger:
        assert ledger.campaign("calibration").counts().total == before + 1
    with pytest.raises(UserError, match="text validation"):
        run.measure([1], text="validation")  # type: ignore[arg-type]


def test_export_is_a_stock_checkpoint(run, tmp_path):
    done = run.export(remove=run.recommendations["removed"].loc[2], to=tmp_path / "out",
                      progress=False)  # fmt: skip
    assert done.path == tmp_path / "out"
    smaller = AutoModelForCausalLM.from_pretrained(done.path)
    assert smaller.config.num_hidden_layers == 10
    assert smaller.num_parameters() == done.parameters_after
    with pytest.raises(ModelError, match=r"^to .*out: exists and is not empty"):
        run.export(remove=[1], to=done.path, progress=False)
    for wrong, words in (([[1], [2]], "one set"), ([], "no layer"), ("0-11", "every layer")):
        with pytest.raises(UserError, match=words):
            run.export(remove=wrong, to=tmp_path / "other", progress=False)


def test_the_card_of_a_notebook(run, finished_run, tmp_path):
    card = run._repr_html_()
    for name in run.recommendations["removed"].loc[2]:
        assert name in card
    assert "layershap export" in card
    assert "<script" not in card
    copy = tmp_path / "<b>run"
    shutil.copytree(finished_run, copy)
    (copy / "recommendations.json").unlink()
    early = layershap.open(copy)._repr_html_()
    assert "least valuable first" in early
    assert "<b>run" not in early
    assert repr(run).startswith("layershap.open(")


def test_what_a_terminal_shows(run):
    bundle = run._repr_mimebundle_()
    assert bundle["text/html"] == run._repr_html_()
    shown = bundle["text/plain"]
    assert ", ".join(run.recommendations["removed"].loc[2]) in shown
    assert str(run.status) == run.status.sentence
    assert run.status.sentence in shown
    assert shown.endswith(f"Next: {run.status.next}")
    assert list(run._repr_mimebundle_(include={"text/plain"})) == ["text/plain"]
    assert list(run._repr_mimebundle_(exclude={"text/plain"})) == ["text/html"]
    stream = io.StringIO()
    Console(file=stream, width=300).print(run)
    assert stream.getvalue().rstrip().endswith(run.status.next)


def test_names_are_no_markup_in_a_terminal():
    card = Card("[red]model", ("[b]",), "", ("[c]",), (("[/d]",),), "[e]")
    assert all(word in card.text() for word in ("[red]model", "[b]", "[c]", "[/d]", "[e]"))


def test_long_tables_are_cut(run):
    rows = tuple((f"L{number}",) for number in range(40))
    card = Card("model", (), "", ("removed",), rows, "")
    assert "and 28 more" in card.text()
    assert card.html().count("<tr>") == 13


def test_a_run_that_has_measured_nothing(finished_run, tmp_path):
    early = tmp_path / "early"
    early.mkdir()
    shutil.copy(finished_run / "run.toml", early)
    run = layershap.open(early)
    assert "Nothing is measured yet" in run._repr_html_()
    for ask in (lambda: run.status, lambda: run.players, lambda: run.predict([1])):
        with pytest.raises(UserError, match=r"nothing is measured yet; start with layershap run"):
            ask()


def test_a_run_without_a_surrogate_names_the_stage(finished_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    shutil.rmtree(copy / "surrogate")
    with pytest.raises(UserError, match=f"run layershap fit {copy} first"):
        layershap.open(copy).predict([1])


def test_threads_and_two_opens_agree(finished_run):
    runs = [layershap.open(finished_run) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: runs[i % 2].predict([i % 5]).value, range(40)))
    assert found[:10] * 4 == found
    assert found[:5] == [runs[0].predict([i]).value for i in (0, 1, 2, 3, 4)]


@pytest.mark.slow
def test_measuring_after_predicting_warns_of_nothing(finished_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    code = (
        "import itertools, sys, layershap\n"
        "run = layershap.open(sys.argv[1])\n"
        "pairs = itertools.combinations(range(12), 7)\n"
        "new = next(p for p in pairs if run.predict(list(p)).measured is None)\n"
        "print(run.measure(list(new), progress=False))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code, str(copy)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "on the calibration text" in done.stdout
    assert "fork" not in done.stderr
    assert "JAX" not in done.stderr


def test_what_is_missing_names_the_stage(finished_run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(finished_run, copy)
    (copy / "values.json").unlink()
    with pytest.raises(UserError, match=f"run layershap values {copy}"):
        _ = layershap.open(copy).values


def test_plots_show_the_numbers(run):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    figure = run.plot_values()
    axes = figure.axes[0]
    widths = [bar.get_width() for bar in axes.patches]
    assert np.allclose(widths, 100 * run.values["value"]), "shares are drawn in percent"
    assert axes.get_xlabel() == "% of the whole model"
    assert [label.get_text() for label in axes.get_yticklabels()] == list(run.players)
    assert figure._repr_png_().startswith(b"\x89PNG")
    frontier = run.plot_frontier()
    assert run.plot_frontier(ax=frontier.axes[0]) is frontier
    lines = {line.get_label(): line for line in frontier.axes[0].lines}
    assert set(run.baselines["method"]) <= set(lines)


def test_without_matplotlib_there_is_one_clear_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install 'layershap\[plots\]'"):
        run.plot_values()


def test_unknown_settings_of_a_run_name_the_nearest():
    with pytest.raises(UserError, match="nearest setting is budget"):
        layershap.run(bugdet=3)
