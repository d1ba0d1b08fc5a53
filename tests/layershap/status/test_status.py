"""Where a run stands, told from its files while nothing, or something, is going on."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from cluster import Ledger
from cluster.ledger.lock_holder import find_lock_holder
from layershap.cli import commands
from layershap.files import write_whole
from layershap.runs.command_line import run_command
from layershap.runs.config import RunConfig
from layershap.runs.config_file import checked_config, read_config
from layershap.runs.directory import RunDirectory
from layershap.runs.incumbent import IncumbentTracker
from layershap.runs.recorded import FINISHED, STARTED, RecordedRun, open_recorded
from layershap.runs.stages import STAGES
from layershap.stages.pipeline import STAGES as PIPELINE
from layershap.status.process_info import ProcessInfo, verb
from layershap.status.progress import finished_stages
from layershap.status.run_status import standing
from layershap.terminal.console import Console
from layershap.terminal.progress import Progress
from layershap.terminal.progress_file import ProgressWriter, read_beat
from tests.support.command_line import call

HOLD = """
import sys, numpy as np
from cluster import Ledger
with Ledger(sys.argv[1]) as ledger:
    campaign = ledger.campaign("calibration")
    n = len(campaign.players)
    for line in sys.stdin:
        row = np.array([[digit == "1" for digit in line.strip()]])
        metrics = {c.name: np.ones((1, c.width), np.float32) for c in campaign.columns}
        if line.strip():
            campaign.record(row, metrics, "worker", 0.5)
        print("done", flush=True)
"""


@pytest.fixture
def copy(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    return RunDirectory(tmp_path / "run")


def test_stages_are_those_of_the_pipeline():
    assert list(STAGES) == list(PIPELINE)


def test_a_finished_run(finished_run):
    found = standing(RunDirectory(finished_run))
    assert found.stage == "finished"
    assert found.finished == tuple(STAGES)
    assert not found.running
    with Ledger(finished_run / "ledger.sqlite", readonly=True) as ledger:
        assert found.evaluations == ledger.campaign("calibration").counts().total
    assert found.worker_seconds > 0
    items = json.loads((finished_run / "recommendations.json").read_text())["recommendations"]
    assert [best.cost for best in found.best] == [item["difference"] for item in items]
    assert found.next in [item["export"] for item in items]


@pytest.mark.parametrize(
    ("gone", "stage", "known_by"),
    [
        (["report.html"], "report", "verified"),
        (["recommendations.json"], "verify", "searched"),
        (["candidates.json", "recommendations.json"], "search", "measured"),
        (["values.json"], "values", "measured"),
        (["surrogate"], "fit", "measured"),
    ],
)
def test_the_first_stage_that_left_nothing_is_next(copy, gone, stage, known_by):
    for name in gone:
        path = copy.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = standing(copy)
    assert found.stage == stage
    assert found.next == f"layershap {stage} {copy.path}"
    assert {best.known_by for best in found.best} == {known_by}
    assert stage in found.sentence


def test_the_best_measured_set_is_the_best_of_the_ledger(copy):
    copy.candidates.unlink()
    with Ledger(copy.ledger, readonly=True) as ledger:
        records = ledger.campaign("calibration").read()
    dense = records.utilities[records.coalitions.all(axis=1)][0]
    gone = (~records.coalitions).sum(axis=1)
    for best in standing(copy).best:
        rows = np.flatnonzero(gone == best.count)
        assert best.cost == pytest.approx(dense - records.utilities[rows].max())
        assert len(best.removed) == best.count


def test_an_unfinished_design_names_the_command_to_go_on(copy):
    config = read_config(copy.config)
    copy.write_config(config.changed(budget=80, seed=5))
    copy.design.unlink()
    found = standing(copy)
    assert found.stage == "measure"
    assert found.done is not None
    assert found.total is not None
    assert 0 < found.done < found.total
    assert found.next == found.command
    assert f"{found.done:,} of {found.total:,}" in found.sentence


def test_a_command_gives_its_configuration_again(copy):
    config = read_config(copy.config).changed(
        players="sublayers", protect="0,1", compile=True, utility=("kl", "nll"), memory=2.5,
        calibration=("a b.txt", "c.txt"),
    )  # fmt: skip
    words = shlex.split(run_command(config, copy.path))
    assert words[:2] == ["layershap", "run"]
    run = commands.get_command(None, "run")  # type: ignore[arg-type]
    assert run is not None
    given = run.make_context("run", words[2:]).params
    output = given.pop("output")
    values = {name: value for name, value in given.items() if value is not None}
    assert checked_config(values) == config
    assert output == copy.path
    assert run_command(RunConfig(), RunConfig().default_output()) == "layershap run"


@pytest.fixture
def holder(copy):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(copy.ledger)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def record(row):
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("".join(map(str, row)) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"

        record("")
        yield process, record
        process.kill()


def test_a_run_that_goes_on_is_seen_and_not_disturbed(copy, holder):
    process, record = holder
    config = read_config(copy.config)
    copy.write_config(config.changed(budget=80, seed=5))
    copy.design.unlink()
    before = standing(copy)
    assert before.running
    assert before.process == process.pid
    assert before.rate is None
    assert before.seconds_left is None
    with Ledger(copy.ledger, readonly=True) as ledger:
        rows = np.random.default_rng(0).random((40, 12)) < 0.5
        new = rows[ledger.campaign("calibration").missing(rows)][:3]
    for row in new:
        record(row.astype(int))
    after = standing(copy)
    assert after.evaluations == before.evaluations + 3
    assert after.rate is not None
    assert after.rate > 0
    assert after.seconds_left is not None
    assert "a second" in after.sentence
    assert after.next.startswith("Wait")
    record("")  # it still writes


def test_a_process_that_is_gone_is_not_taken_for_a_run(copy, holder):
    process, _ = holder
    assert find_lock_holder(copy.ledger) is not None
    process.kill()
    process.wait()
    assert find_lock_holder(copy.ledger) is None
    assert not standing(copy).running


def test_what_a_run_says_it_is_at_is_told(copy, holder):
    process, _ = holder
    (copy.path / "report.html").unlink()
    heart = ProgressWriter(copy.path)
    heart.beat("report", "drawing", Progress(3, 12, seconds_left=9.0))
    assert standing(copy).task is None  # it is another process that holds the run
    beat = read_beat(copy.path)
    assert beat is not None
    assert beat.progress == Progress(3, 12, None, 9.0)
    written = json.loads((copy.path / "progress.json").read_text())
    assert {"stage", "task", "done", "total", "rate", "seconds_left"} < written.keys()
    write_whole(copy.path / "progress.json", json.dumps(written | {"process": process.pid}))
    found = standing(copy)
    assert (found.task, found.done, found.total, found.seconds_left) == ("drawing", 3, 12, 9.0)
    assert "report, 3 of 12 steps, 9 s left; drawing." in found.sentence
    heart.stop()
    assert standing(copy).task is None


def test_a_run_on_another_machine_is_not_called_dead(copy):
    (copy.path / "report.html").unlink()
    lock = copy.ledger.with_suffix(".lock")
    assert lock.read_text() == ""  # the run ended well
    lock.write_text("4321 far-away\n")
    found = standing(copy)
    assert found.running
    assert (found.process, found.host) == (4321, "far-away")
    assert "process 4321 on far-away, last sign" in found.sentence
    hours_ago = time.time() - 3 * 3600
    os.utime(lock, (hours_ago, hours_ago))
    activity = ProcessInfo(4321, hours_ago, "run", None, 0.0, hours_ago, "far-away")
    assert not activity.running
    assert activity.silent_seconds(time.time()) == pytest.approx(3 * 3600, abs=60)


def test_watching_ends_with_the_run(copy, holder):
    process, _ = holder
    watching = subprocess.Popen(
        [sys.executable, "-m", "layershap", "status", str(copy.path), "--watch", "--json"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        text=True,
    )
    with watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["running"]
        process.kill()
        process.wait()
        rest = watching.stdout.read().splitlines()
    assert watching.returncode == 0
    assert not json.loads(rest[-1])["running"]


def test_the_leader_of_the_measurements(copy):
    with Ledger(copy.ledger, readonly=True) as ledger:
        campaign = ledger.campaign("calibration")
        records = campaign.read()
        said = IncumbentTracker(campaign, (1, 2), "nats per token")
        text = said()
        assert said() == text == said.now()
        assert IncumbentTracker(campaign, (), "nats per token")() == ""
    found = re.fullmatch(r"best of 2 removed so far: (\d+),(\d+) at ([+-].*)", text)
    assert found is not None
    row = np.ones(12, dtype=bool)
    row[[int(found[1]), int(found[2])]] = False
    dense = records.utilities[records.coalitions.all(axis=1)][0]
    own = records.utilities[(records.coalitions == row).all(axis=1)][0]
    assert float(found[3]) == pytest.approx(dense - own, abs=0.0051)
    assert own == records.utilities[(~records.coalitions).sum(axis=1) == 2].max()


def stages_done(directory):
    with Ledger(directory.ledger, readonly=True) as ledger:
        run = RecordedRun(read_config(directory.config), directory, Console(quiet=True), ledger)
        return finished_stages(run)


def test_a_stage_that_begins_again_is_not_done_nor_what_follows_it(copy):
    assert stages_done(copy) == tuple(STAGES)
    with open_recorded(read_config(copy.config), copy, Console(quiet=True)) as run:
        with suppress(ZeroDivisionError), run.stage("values"):
            raise ZeroDivisionError
        assert finished_stages(run) == ("measure", "fit")
        with run.stage("values"):
            pass
        assert finished_stages(run) == ("measure", "fit", "values"), "the search is older"
        for stage in ("search", "verify", "report"):
            with run.stage(stage):
                pass
    assert stages_done(copy) == tuple(STAGES)


def test_a_run_of_an_earlier_version_is_told_by_its_files(copy):
    with Ledger(copy.ledger) as ledger, ledger.transaction() as db:
        db.execute("DELETE FROM events WHERE kind IN (?, ?)", (STARTED, FINISHED))
    assert stages_done(copy) == tuple(STAGES)
    copy.recommendations.unlink()
    assert stages_done(copy) == ("measure", "fit", "values", "search")
    copy.values.unlink()
    assert stages_done(copy) == ("measure", "fit")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/env/bin/python", "/env/bin/layershap", "run", "m"], "run"),
        (["python", "-m", "layershap", "search", "runs/x"], "search"),
        (["python", "/site/layershap/__main__.py", "verify", "r"], "verify"),
        (["python", "/env/bin/layershap", "--help"], None),
        (["python", "my.py"], None),
        ([], None),
    ],
)
def test_the_command_of_a_process(command, expected):
    assert verb(command) == expected


def test_concerns_are_told(copy):
    with Ledger(copy.ledger) as ledger:
        campaign = ledger.campaign("calibration")
        rows = np.random.default_rng(1).random((20, 12)) < 0.5
        campaign.quarantine(rows[campaign.missing(rows)][0])
        ledger.log_event("worker died", worker="w", cause="process")
        ledger.log_event("run stopped", campaign="calibration", reason="KeyboardInterrupt")
    told = " ".join(standing(copy).concerns)
    assert "1 sets crashed" in told
    assert "died 1 times" in told
    assert "once" in told
    assert "KeyboardInterrupt" in told


def test_on_the_command_line(finished_run, tmp_path):
    status, out, _ = call("status", finished_run)
    assert status == 0
    assert "Finished: every stage is done." in out
    assert "best so far" in out
    status, out, _ = call("status", finished_run, "--json")
    assert json.loads(out)["stage"] == "finished"
    status, _, err = call("status", tmp_path)
    assert status == 2
    assert "no run.toml" in err
