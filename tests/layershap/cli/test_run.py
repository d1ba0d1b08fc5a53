"""The command line on a real tiny model: the whole job, every stage, every kind of bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM

from cluster import Ledger
from layershap.cli import COMMANDS, commands
from layershap.errors import UserError
from layershap.runs.config_file import read_config
from layershap.runs.directory import RunDirectory
from layershap.runs.workspace import open_workspace
from layershap.stages.until import values_until
from layershap.terminal.console import Console
from sampling import keys
from shapley import Status
from tests.support.command_line import call
from tests.support.refusals import refused
from tests.support.tiny_models import tiny_model
from tests.support.tiny_run import OPTIONS


@pytest.fixture(scope="module")
def finished(checkpoint, tmp_path_factory, ray_address):
    """The directory of a whole run with a budget below 2^5, and what it printed."""
    model, text = checkpoint
    run = tmp_path_factory.mktemp("runs") / "tiny"
    status, out, err = call(
        "run", model, "--calibration", text, "-o", run, "--budget", 24, *OPTIONS
    )
    assert status == 0, err
    return run, out, err


def test_run_leaves_everything_a_user_was_promised(finished):
    run, out, _ = finished
    expected = {
        "run.toml", "ledger.sqlite", "design.json", "surrogate", "values.json", "candidates.json",
        "recommendations.json", "report.html",
    }  # fmt: skip
    assert expected <= {path.name for path in run.iterdir()}
    assert "Layers to remove" in out
    assert str(run / "report.html") in out
    assert "layershap export" in out


def test_recommendations_never_lose_to_the_baselines_where_both_were_searched(finished):
    run, _, _ = finished
    found = json.loads((run / "recommendations.json").read_text())["recommendations"]
    assert [item["count"] for item in found] == [1, 2]
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        for item in found:
            assert {b["method"] for b in item["baselines"]} == {
                "greedy", "single ablation", "Block Influence", "reverse order",
            }  # fmt: skip
            sets = [item["removed"], *(b["removed"] for b in item["baselines"])]
            rows = np.array([[i not in removed for i in range(5)] for removed in sets])
            utilities = campaign.read(rows).utilities
            assert utilities[0] == utilities.max()


def test_budget_is_kept_and_nothing_is_measured_twice(finished):
    run, _, _ = finished
    spent = json.loads((run / "candidates.json").read_text())
    assert spent["spent"] <= spent["budget"] == 24
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        for name in ("calibration", "heldout"):
            records = ledger.campaign(name).read()
            assert (records.times_measured == 1).all()
        total = len(ledger.campaign("calibration").read())
    assert total == spent["spent"] + spent["spent_on_baselines"]


def test_the_same_command_again_measures_nothing(finished, checkpoint):
    run, _, _ = finished
    model, text = checkpoint
    before = (run / "recommendations.json").read_text()
    status, _, err = call("run", model, "--calibration", text, "-o", run, "--budget", 24, *OPTIONS)
    assert status == 0
    assert "are in the ledger already" in err
    assert "sets measured" not in err
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        assert (ledger.campaign("calibration").read().times_measured == 1).all()
    again = json.loads((run / "recommendations.json").read_text())
    for old, new in zip(
        json.loads(before)["recommendations"], again["recommendations"], strict=True
    ):
        assert old["removed"] == new["removed"]
        assert old["difference"] == new["difference"]


def test_stages_one_by_one_give_what_run_gives(finished, checkpoint, tmp_path):
    run, _, _ = finished
    model, text = checkpoint
    alone = tmp_path / "alone"
    status, _, err = call(
        "measure", model, "--calibration", text, "-o", alone, "--budget", 24, *OPTIONS
    )
    assert status == 0, err
    for stage in ("fit", "values", "search", "verify", "report"):
        status, _, err = call(stage, alone)
        assert status == 0, err
    for name in ("values.json", "candidates.json"):
        assert json.loads((alone / name).read_text()) == json.loads((run / name).read_text())


def test_values_tell_how_sure_they_are(finished):
    run, _, err = finished
    found = json.loads((run / "values.json").read_text())
    shapley = found["shapley"]
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        whole, none = (
            ledger.campaign("calibration").read(np.array([[True] * 5, [False] * 5])).utilities
        )
    assert found["value_of"] == "retention"
    assert sum(shapley["values"]) == pytest.approx(1 - np.exp(none - whole))
    assert shapley["method"] == "adaptive"
    assert shapley["spent"] == 20
    assert min(shapley["standard_errors"]) > 0
    assert min(found["shapley_text_standard_errors"]) > 0
    points = found["error_history"]
    assert points[-1]["evaluations"] == 20
    assert points[-1]["largest"] == max(shapley["standard_errors"])
    assert len(points) > 2
    order = [shapley["players"][i] for i in np.argsort(shapley["values"])]
    assert [entry["players"] for entry in found["ranking"]] == [order[:1], order[:2], order[:3]]
    for entry in found["ranking"]:
        assert 0 < entry["probability_on_such_text"] <= 1
        assert entry["sentences"][0] in err or entry["k"] != 3
    html = (run / "report.html").read_text()
    assert 'id="errors"' in html
    assert 'class="whisker text"' in html
    assert "text of this kind in general" in html
    assert shapley["status_text"].replace("'", "&#39;") in html


def test_values_go_on_until_they_are_sure(finished, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "copy")
    directory = RunDirectory(run)
    with open_workspace(read_config(directory.config), directory, Console(quiet=True)) as work:
        before = work.campaign("calibration").counts().total
        loose = values_until(work, 1e3)
        assert loose.reached
        assert loose.evaluations == 20
        far = values_until(work, 1e-9)
        assert not far.reached
        assert far.evaluations == 20
        assert work.campaign("calibration").counts().total == before
        some = values_until(work, 1e-9, budget=28)
        assert some.evaluations == 28
        assert some.advised is None or some.advised > 28
        everything = values_until(work, 1e-9, budget=99)
        assert everything.reached
        assert everything.values.shapley.status is Status.EXACT
        assert work.campaign("calibration").counts().total == 32
        with pytest.raises(UserError, match="--target-se -1"):
            values_until(work, -1.0)
    assert call("values", run)[0] == 0
    again, first = (json.loads((r / "values.json").read_text()) for r in (run, finished[0]))
    for name in ("shapley", "ranking", "error_history"):
        assert again[name] == first[name], "the design itself is as it was"


def test_query_gives_prediction_interval_and_measured_value(finished):
    run, _, _ = finished
    status, out, _ = call("query", run, "--remove", "1", "--json")
    answer = json.loads(out)
    assert status == 0
    assert answer["removed"] == [1]
    assert answer["measured"] is not None
    assert answer == json.loads(call("query", run, "--keep", "0,2-4", "--json")[1])
    text = call("query", run, "--remove", "L1")[1]
    assert f"{answer['predicted']:.4f}" in text
    assert f"{answer['measured']:.4f}" in text


def test_export_writes_a_checked_stock_checkpoint(finished, tmp_path):
    run, _, _ = finished
    status, out, err = call("export", run, "--remove", "1,3", "--to", tmp_path / "small")
    assert status == 0, err
    assert "checked" in out
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "small")
    assert model.config.num_hidden_layers == 3
    assert call("export", run, "--count", "2", "--to", tmp_path / "best")[0] == 0
    assert "not empty" in refused("export", run, "--remove", "1", "--to", tmp_path / "small")


def test_a_budget_of_all_coalitions_is_exact(checkpoint, ray_address, tmp_path):
    model, text = checkpoint
    status, _, err = call(
        "run", model, "--calibration", text, "-o", tmp_path / "r", "--budget", 999, *OPTIONS,
        "--speed-rounds", 0,
    )  # fmt: skip
    assert status == 0, err
    assert "all 32 sets" in err
    values = json.loads((tmp_path / "r" / "values.json").read_text())["shapley"]
    assert values["status"] == "EXACT"
    with Ledger(tmp_path / "r" / "ledger.sqlite", readonly=True) as ledger:
        utilities = ledger.campaign("calibration").read(np.array([[True] * 5, [False] * 5]))
    whole, none = utilities.utilities
    assert sum(values["values"]) == pytest.approx(1 - np.exp(none - whole))


def test_doctor_tells_what_a_run_would_do(checkpoint, tmp_path):
    model, text = checkpoint
    status, out, _ = call("doctor", model, "--calibration", text, "-o", tmp_path / "x", *OPTIONS)
    assert status == 0
    assert "5 layers" in out
    assert "takes about" in out
    assert not (tmp_path / "x").exists()
    status, out, _ = call("doctor", tmp_path / "nothing")
    assert status == 1
    assert "FAIL" in out


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"--count": "1-5"}, "--count"),
        ({"--count": "9"}, "--count"),
        ({"--remove": "1-3"}, "--remove"),
        ({"--budget": "0"}, "--budget"),
        ({"--budget": "-3"}, "--budget"),
        ({"--budget": "5"}, "--budget"),
        ({"--sequence-length": "65"}, "--sequence-length"),
    ],
)
def test_bad_input_is_one_line(changes, option, checkpoint, tmp_path, wording):
    line = measure_refused(checkpoint, tmp_path, changes)
    assert line.option == option
    assert line.value == changes[option]
    wording(line)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "missing-directory/x"},
        {"--calibration": "missing.txt"},
        {"--device": "warp"},
        {"--address": "127.0.0.1:1"},
        {"--address": "nonsense"},
    ],
)
def test_what_libraries_refuse_is_one_line_that_names_it(changes, checkpoint, tmp_path):
    line = measure_refused(checkpoint, tmp_path, changes)
    (value,) = changes.values()
    assert value in line


def measure_refused(checkpoint, tmp_path, changes):
    model, text = checkpoint
    options = {"--calibration": str(text), "-o": str(tmp_path / "run"), **changes}
    name = options.pop("model", str(model))
    return refused("measure", name, *(word for pair in options.items() for word in pair))


@pytest.mark.parametrize("content", [b"", b"  \n", b"\x89PNG\0\xff\xfe", b"short"])
def test_bad_text_is_one_line(content, checkpoint, tmp_path, wording):
    file = tmp_path / f"{len(content)}-bytes.txt"
    file.write_bytes(content)
    line = refused("measure", checkpoint[0], "--calibration", file, "-o", tmp_path / "run")
    assert line.option == "text"
    assert Path(line.value).name == file.name
    wording(line)


def test_not_a_causal_language_model(tmp_path):
    from transformers import T5Config

    T5Config().save_pretrained(tmp_path / "t5")
    assert "not a causal" in refused("measure", tmp_path / "t5", "-o", tmp_path / "run")


def test_a_directory_of_another_run_is_refused_and_stays_as_it_is(finished, checkpoint, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "copy")
    other = tmp_path / "other.txt"
    other.write_text(Path(checkpoint[1]).read_text()[500:] + " another end")
    config = (run / "run.toml").read_text()
    line = refused("run", checkpoint[0], "--calibration", other, "-o", run, *OPTIONS)
    assert "fingerprint" in line
    assert "other.txt" in line
    assert (run / "run.toml").read_text() == config
    longer = ["--sequences", "2", "--count", "1"]
    line = refused("run", checkpoint[0], "--calibration", checkpoint[1], "-o", run, *longer)
    assert "fingerprint" in line


def test_corrupt_and_locked_ledgers(finished, checkpoint, tmp_path):
    model, text = checkpoint
    run = shutil.copytree(finished[0], tmp_path / "copy")
    with Ledger(run / "ledger.sqlite"):
        line = refused("run", model, "--calibration", text, "-o", run, *OPTIONS)
        assert "being written by process" in line
    (run / "ledger.sqlite").write_bytes(b"this is no database" * 100)
    line = refused("run", model, "--calibration", text, "-o", run, *OPTIONS)
    assert "ledger.sqlite" in line
    assert (run / "ledger.sqlite").read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--remove", "7"], "--remove"),
        (["--remove", "L9"], "--remove"),
        (["--keep", "x-y"], "--keep"),
        ([], "query"),
        (["--remove", "1", "--keep", "2"], "query"),
    ],
)
def test_bad_queries(arguments, option, finished):
    assert refused("query", finished[0], *arguments).option == option


def test_stages_say_which_one_comes_first(tmp_path):
    assert "layershap run" in refused("fit", tmp_path)
    assert "layershap run" in refused("query", tmp_path / "none", "--remove", "1")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_in_the_readme(name):
    result = CliRunner().invoke(commands, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.output) > 100
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    assert f"layershap {name}" in readme


def test_unknown_options_are_click_errors():
    assert call("run", "--no-such-option")[0] == 2
    assert call("nonsense")[0] == 2


def test_losses_that_are_not_finite_stay_with_their_coalitions(checkpoint, ray_address, tmp_path):
    model, text = checkpoint
    run = tmp_path / "run"
    assert (
        call("measure", model, "--calibration", text, "-o", run, "--budget", 24, *OPTIONS)[0] == 0
    )
    with Ledger(run / "ledger.sqlite") as ledger:
        campaign = ledger.campaign("calibration")
        records = campaign.read()
        bad = records.coalitions[[0, 3, 9]][1:]
        with ledger.transaction() as db:
            for key in keys(bad):
                db.execute("DELETE FROM measurements WHERE key = ?", (key,))
        nothing = {c.name: np.full((len(bad), c.width), np.nan) for c in campaign.columns}
        campaign.record(bad, nothing)
    for stage in ("fit", "values", "search", "verify", "report"):
        status, _, err = call(stage, run)
        assert status == 0, err
    rows = json.loads((run / "surrogate" / "evaluation.json").read_text())["rows"]
    fitted = np.array(rows["coalitions"], dtype=bool)
    assert not {*keys(fitted)} & {*keys(bad)}
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        after = ledger.campaign("calibration").read()
    assert (after.times_measured == 1).all()
    known = dict(zip(keys(after.coalitions), after.utilities, strict=True))
    assert rows["measured"] == [known[key] for key in keys(fitted)]
    before = dict(zip(keys(records.coalitions), records.utilities, strict=True))
    assert all(known[key] == before[key] for key in {*keys(fitted)} & before.keys())
    assert "2 measured combinations" in (run / "report.html").read_text()


@pytest.mark.parametrize("utility", ["nll", "top1"])
def test_layers_that_do_nothing_are_measured_valued_and_removed(
    utility, tmp_path, checkpoint, ray_address
):
    model = tiny_model("llama", vocab_size=300)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    shutil.copytree(checkpoint[0], tmp_path / "still")
    model.save_pretrained(tmp_path / "still")
    run = tmp_path / "run"
    status, out, err = call(
        "run", tmp_path / "still", "--calibration", checkpoint[1], "-o", run, *OPTIONS,
        "--budget", 24, "--utility", utility, "--repair-budget", 0,
    )  # fmt: skip
    assert status == 0, err
    assert "+0.0000" in out
    assert f"layershap export {run} --remove " in out
