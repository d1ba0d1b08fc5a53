"""`layershap baselines` on a real tiny model, and the list of published methods."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping

import numpy as np
import pytest

from cluster import Ledger
from decoder import make_roster
from layershap.errors import UserError
from layershap.methods.catalog import BASELINES, find_baselines
from layershap.methods.context import RunContext, refusal, run_method
from layershap.results.candidates import CANDIDATES, Candidates, CandidateSet
from layershap.runs.config_file import checked_config
from layershap.runs.directory import RunDirectory
from tests.support.command_line import call
from tests.support.refusals import refused
from tests.support.shapley_games import WholeGame, smooth

SETTINGS = {
    "count": "1-2",
    "sequences": 3,
    "sequence_length": 24,
    "budget": 20,
    "workers": 1,
}
FOR_HALVES = ("FinerCut", "BlockPruner")
SIDE_BY_SIDE = ("angular distance", "CLP gate")


def begun(checkpoint, folder, **more):
    """The directory of a run of which nothing is measured yet."""
    model, text = checkpoint
    given = {**SETTINGS, "model": str(model), "calibration": [str(text)], **more}
    directory = RunDirectory(folder / "run")
    directory.create()
    directory.write_config(checked_config(given))
    return directory.path


def read(run):
    return json.loads((run / "baselines.json").read_text())


@pytest.fixture(scope="module")
def layers(checkpoint, tmp_path_factory, ray_address):
    """A run of 5 layers after `layershap baselines RUN`, and what that printed."""
    run = begun(checkpoint, tmp_path_factory.mktemp("layers"))
    status, out, err = call("baselines", run)
    assert status == 0, err
    return run, out, err


def test_every_method_that_can_run_did(layers):
    run, out, err = layers
    found = read(run)
    able = [baseline for baseline in BASELINES if baseline.name not in FOR_HALVES]
    assert list(found["methods"]) == [baseline.name for baseline in able]
    for name in FOR_HALVES:
        assert f"{name}: is made for players sublayers, and this run's are layers" in err
        assert name not in out
    for baseline in able:
        method = found["methods"][baseline.name]
        assert method["source"] == baseline.source
        assert [len(method["sets"][count]) for count in ("1", "2")] == [1, 2]
        assert all(0 <= player < 5 for removed in method["sets"].values() for player in removed)
        assert f"{baseline.name}: {method['evaluations']:,} evaluations" in err
        assert baseline.name in out
    assert "by number of layers removed" in out
    assert "this run" not in out, "nothing was searched yet"


def test_what_methods_need_is_counted(layers):
    run, _, _ = layers
    methods = read(run)["methods"]
    text = 3 * 24
    evaluations = {name: method["evaluations"] for name, method in methods.items()}
    assert evaluations["greedy"] == 5 + 4
    assert evaluations["single ablation"] == evaluations["Shortened-LLaMA PPL"] == 5
    assert evaluations["reverse order"] == methods["reverse order"]["tokens"] == 0
    assert 0 < evaluations["EvoPress"] <= 20 == methods["EvoPress"]["budget"]
    assert evaluations["cooperative game"] == 20
    assert methods["greedy"]["tokens"] == 9 * text
    assert methods["greedy"]["budget"] is None
    assert methods["Block Influence"]["tokens"] == text
    assert methods["re-scored Block Influence"]["tokens"] == 2 * text
    assert methods["Shortened-LLaMA Taylor"]["tokens"] == 3 * text
    assert "first 1 and last 1 of 5 layers" in methods["Shortened-LLaMA PPL"]["note"]
    assert "19 masks (published: 8,000)" in methods["cooperative game"]["note"]


def test_sets_are_measured_once_in_the_ledger_of_the_run(layers):
    run, _, _ = layers
    found = read(run)
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        assert found["fingerprint"] == campaign.fingerprint
        assert (campaign.read().times_measured == 1).all()
        assert campaign.read(np.ones((1, 5), dtype=bool)).utilities[0] == found["dense"]
        for name, method in found["methods"].items():
            rows = np.array(
                [[i not in removed for i in range(5)] for removed in method["sets"].values()]
            )
            if name != "LaCo":
                assert method["merges"] is None
                utilities = campaign.read(rows).utilities
                assert utilities.tolist() == list(method["utilities"].values())
    best = found["methods"]["greedy"]["utilities"]["1"]
    for method in found["methods"].values():
        if method["merges"] is None:
            assert method["utilities"]["1"] <= best


def test_merged_models_are_measured_as_such(layers):
    run, _, _ = layers
    found = read(run)
    laco = found["methods"]["LaCo"]
    assert set(laco["merges"]) == {"1", "2"}
    for count, merges in laco["merges"].items():
        gone = sorted(layer for _, layers in merges for layer in layers)
        assert gone == laco["sets"][count]
        assert np.isfinite(laco["utilities"][count])
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        row = np.array([[i not in laco["sets"]["2"] for i in range(5)]])
        if not campaign.missing(row).any():
            assert campaign.read(row).utilities[0] != laco["utilities"]["2"]


def test_what_is_there_is_not_run_again(layers):
    run, out, _ = layers
    before = (run / "baselines.json").read_bytes()
    status, again, err = call("baselines", run)
    assert status == 0
    assert err.count("in baselines.json already") == len(BASELINES) - len(FOR_HALVES)
    assert (run / "baselines.json").read_bytes() == before
    assert again == out
    status, out, _ = call("baselines", run, "--json", "--method", "sleb")
    assert status == 0
    assert json.loads(out) == read(run)


def test_counts_and_budgets_are_added(layers, tmp_path):
    run = shutil.copytree(layers[0], tmp_path / "copy")
    before = read(run)["methods"]
    status, out, err = call(
        *("baselines", run, "--method", "greedy", "--method", "EvoPress"),
        *("--count", "3", "--budget", 9),
    )
    assert status == 0, err
    after = read(run)["methods"]
    assert list(after["greedy"]["sets"]) == list(after["EvoPress"]["sets"]) == ["1", "2", "3"]
    assert after["greedy"]["sets"]["2"] == before["greedy"]["sets"]["2"]
    assert after["greedy"]["evaluations"] == 5 + 4 + 3
    assert after["EvoPress"]["budget"] == 9 >= after["EvoPress"]["evaluations"]
    assert after["LaCo"] == before["LaCo"]
    assert "EvoPress PPL" not in out, "its sets are of other counts"
    assert call("baselines", run, "--method", "EvoPress", "--count", "2")[0] == 0
    assert read(run)["methods"] == after


def test_the_runs_own_sets_stand_beside_them(layers, tmp_path):
    run = shutil.copytree(layers[0], tmp_path / "copy")
    utilities = {1: read(run)["dense"] - 0.125, 2: -4.0}
    sets = {k: (CandidateSet(tuple(range(k)), u, 0.0, None, "beam"),) for k, u in utilities.items()}
    CANDIDATES.write(run, Candidates("toy", 17, 17, 0, False, True, {}, (), sets, {}))
    status, out, _ = call("baselines", run, "--method", "greedy", "--count", "1")
    assert status == 0
    own = next(line for line in out.splitlines() if "this run" in line)
    assert [word for word in own.split() if word not in "│"] == [
        *("this", "run", "17", f"{17 * 72:,}", "+0.1250"),
    ]


def test_halves_of_layers(checkpoint, ray_address, tmp_path):
    run = begun(checkpoint, tmp_path, players="sublayers", budget=26)
    status, _, err = call(
        *("baselines", run, "--method", "finercut", "--method", "blockpruner"),
        *("--method", "greedy", "--method", "taylor", "--method", "shortened-llama"),
    )
    assert status == 0, err
    methods = read(run)["methods"]
    assert methods["BlockPruner"]["sets"] == methods["greedy"]["sets"]
    assert methods["FinerCut"]["evaluations"] == 10 + 9
    with Ledger(run / "ledger.sqlite", readonly=True) as ledger:
        records = ledger.campaign("calibration").read(~np.eye(10, dtype=bool))
    nearest = int(records.mean("kl").argmin())
    assert methods["FinerCut"]["sets"]["1"] == [nearest]
    for name in ("Shortened-LLaMA PPL", "Shortened-LLaMA Taylor"):
        assert not set(methods[name]["sets"]["2"]) & {0, 1, 8, 9}
    before = (run / "baselines.json").read_bytes()
    for name in ("angular-distance", "laco", "clp"):
        line = refused("baselines", run, "--method", "greedy", "--method", name)
        assert "this run's are sublayers; measure a run with --players layers" in line
    assert (run / "baselines.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "gredy"], "--method gredy: unknown (nearest: greedy)"),
        (["--method", "finercut"], "FinerCut: is made for players sublayers"),
        (["--count", "1-5"], "--count 1-5: there are 5 layers; remove 1 to 4"),
        (["--count", "x"], "--count x: not a list"),
        (
            ["--method", "evopress", "--count", "1-4", "--budget", "3"],
            "--budget 3: EvoPress needs at least an evaluation for each of 4 counts",
        ),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(layers, arguments, said):
    before = (layers[0] / "baselines.json").read_bytes()
    assert said in refused("baselines", layers[0], *arguments)
    assert (layers[0] / "baselines.json").read_bytes() == before


def test_a_file_of_something_else(layers, tmp_path):
    run = shutil.copytree(layers[0], tmp_path / "copy")
    content = read(run)
    (run / "baselines.json").write_text(json.dumps(content | {"fingerprint": "other"}))
    assert "measurements of something else" in refused("baselines", run)
    (run / "baselines.json").write_text('{"fingerprint": ')
    assert "baselines.json: damaged" in refused("baselines", run)
    (run / "baselines.json").write_text(json.dumps(content | {"methods": {"greedy": {}}}))
    assert "baselines.json: damaged" in refused("baselines", run)
    assert "layershap run" in refused("baselines", tmp_path)
    assert "name RUN" in refused("baselines")


def test_the_list_tells_what_methods_need():
    status, out, _ = call("baselines", "--list")
    assert status == 0
    for baseline in BASELINES:
        assert f"{baseline.slug}\n    {baseline.name}: {baseline.source}\n" in out
    rows = json.loads(call("baselines", "--list", "--json")[1])
    assert [row["slug"] for row in rows] == [baseline.slug for baseline in BASELINES]
    assert all(row["needs"] for row in rows)


def test_methods_are_found_by_any_of_their_names():
    slugs = [baseline.slug for baseline in BASELINES]
    words = [word for baseline in BASELINES for word in (baseline.slug, *baseline.also)]
    assert len(set(words)) == len(words)
    assert "block-influence" in slugs
    found = find_baselines(["sleb", "Block Influence", "evopress", "greedy"])
    assert [baseline.name for baseline in found] == ["greedy", "Block Influence", "EvoPress"]
    with pytest.raises(UserError, match="choose all or greedy"):
        find_baselines(["zzz"])


def bench(kind="layers", tokens: Mapping[str, int] | None = None, protect=""):
    """A bench without a model: 8 layers, a smooth game for every metric."""
    roster = make_roster(kind, 8, protect)
    game = smooth(len(roster.names))

    def no_model():
        raise AssertionError("no model is needed")

    tokens = {"nll": 100, "kl": 100} if tokens is None else tokens
    return RunContext(
        roster=roster,
        utility=next(iter(tokens)),
        evaluation_tokens=tokens,
        tokens=np.zeros((2, 50), dtype=np.int64),
        budget=40,
        seed=0,
        game=lambda metric: game,
        parts=lambda metric: WholeGame(game),
        model=no_model,
    )


def test_methods_say_why_they_cannot_run():
    tasks = bench(tokens={"words.margin": 30})
    for baseline in BASELINES:
        line = refusal(baseline, tasks, [1, 2]) if baseline.name != "LaCo" else None
        if baseline.metric not in (None, "utility"):
            assert line is not None
            assert line.count("\n") == 0
        elif line is not None:
            raise AssertionError(line)
    wanted = refusal(find_baselines(["evopress"])[0], tasks, [1])
    assert wanted == (
        "EvoPress: needs kl on text, and this run measures tasks alone; measure a run with "
        "--utility kl beside them"
    )
    parted = bench(protect="2,5")
    for baseline in find_baselines(SIDE_BY_SIDE):
        assert refusal(baseline, parted, [1, 2]) is None
        line = refusal(baseline, parted, [2, 3])
        assert line is not None
        assert "protected" in line


@pytest.mark.parametrize("kind", ["layers", "sublayers", "blocks:2"])
def test_methods_without_a_model_run_on_any_bench(kind):
    on = bench(kind)
    able = [b for b in BASELINES if not b.passes and refusal(b, on, [1, 2]) is None]
    assert {"greedy", "EvoPress", "cooperative game"} <= {baseline.name for baseline in able}
    for baseline in able:
        if "tuned" in baseline.name and kind != "layers":
            continue  # compiles five trainings
        result = run_method(baseline, on, [1, 2])
        assert [len(result.sets[count]) for count in (1, 2)] == [1, 2]
        assert result.tokens == round(100 * result.evaluations)
        assert result.evaluations <= (on.budget if baseline.spends else 2 * on.players)
