import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from click.testing import CliRunner

from layershap.api.opening import open_run
from layershap.cli import commands
from layershap.errors import UserError
from layershap.serve.served_run import RunSource
from layershap.serve.server import ServeOptions, is_loopback
from tests.support.explorer_samples import sample_run
from tests.support.service_process import served

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = sample_run(tmp_path_factory.mktemp("served") / "toy", "sublayers", 4, "0")
    return directory.path


def test_the_command_answers_as_python_does_and_stops_in_good_order(toy: Path) -> None:
    run = open_run(toy)
    with served(toy, "--no-measuring") as (client, process):
        assert client.get("/ready").json() == {"status": "ready"}
        for removed in ([2], ["L1.attn", "L3.mlp"], []):
            found = client.post("/predict", json={"remove": removed}).json()
            expected = run.predict(remove=removed)
            assert tuple(found["removed"]) == expected.removed
            for name in ("value", "lower", "upper", "cost", "dense", "measured"):
                assert found[name] == pytest.approx(getattr(expected, name), abs=1e-6), name
        protected = client.post("/predict", json={"remove": [0]})
        assert (protected.status_code, protected.json()["field"]) == (422, "remove[0]")
        values = {v["player"]: v["value"] for v in client.get("/values").json()["values"]}
        content = json.loads((toy / "values.json").read_text())["shapley"]
        assert values == dict(zip(content["players"], content["values"], strict=True))
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        assert "L3.mlp" in page.text
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out.splitlines()[-1], err) == (0, "stopped", "")


def test_values_and_recommendations_are_those_of_the_run(toy: Path) -> None:
    shot = RunSource(open_run(toy).directory).load()
    content = json.loads((toy / "values.json").read_text())
    np.testing.assert_allclose(shot.values["shapley"].values, content["shapley"]["values"])
    verified = json.loads((toy / "recommendations.json").read_text())["recommendations"]
    assert shot.recommendations is not None
    assert [item["count"] for item in shot.recommendations] == [i["count"] for i in verified]
    assert [item["cost"] for item in shot.recommendations] == [i["difference"] for i in verified]
    assert {item["share_saved"] for item in shot.recommendations} == {0.25}
    assert shot.names[1] == shot.names["L1"]
    assert 0 not in shot.names


def test_a_request_under_way_is_answered_before_it_stops(toy: Path) -> None:
    n = len(open_run(toy).players)
    with served(toy, "--no-measuring") as (client, process):
        many = {"kept": ["1" * n] * 50_000}
        body = json.dumps(many).encode()

        def slowly() -> Iterator[bytes]:
            yield body[: len(body) // 2]
            process.send_signal(signal.SIGINT)
            time.sleep(1.0)
            yield body[len(body) // 2 :]

        answer = client.post(
            "/predict/many", content=slowly(), headers={"Content-Type": "application/json"}
        )
        assert answer.json()["count"] == 50_000
        process.communicate(timeout=30)
        assert process.returncode == 0


def test_measuring_on_the_real_model(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    opened = open_run(run)
    unknown = _unmeasured(run)
    with served(run) as (client, _):
        asked = {"remove": [opened.players[k] for k in np.flatnonzero(~unknown)]}
        before = client.post("/predict", json=asked).json()
        assert before["measured"] is None
        job = client.post("/measurements", json={"remove": [asked["remove"]]})
        assert job.status_code == 202
        done = _ended(client, job.headers["location"])
        assert done["state"] == "done", done
        found = done["result"]["sets"][0]
        after = before
        for _ in range(100):  # what was measured is served as a fact soon
            after = client.post("/predict", json=asked).json()
            if after["measured"] is not None:
                break
            time.sleep(0.1)
        assert after["measured"] == pytest.approx(found["value"], abs=1e-6)
        told = opened.measure(remove=asked["remove"], progress=False)
        assert (found["value"], found["cost"]) == pytest.approx((told.value, told.cost))
        many = [[k, j] for k in range(12) for j in range(k)]
        again = client.post("/measurements", json={"remove": many, "text": "heldout"})
        where = again.headers["location"]
        for _ in range(600):
            if client.get(where).json()["state"] == "running":
                break
            time.sleep(0.05)
        assert client.delete(where).json()["state"] == "cancelling"
        assert _ended(client, where)["state"] == "cancelled"


def _unmeasured(run: Path) -> np.ndarray:
    from sampling import random_of_sizes, stream

    shot = RunSource(open_run(run).directory).load()
    known = {row.tobytes() for row in shot.coalitions}
    rows = random_of_sizes(12, np.full(200, 5), stream(1, "unmeasured"))
    return next(row for row in rows if row.tobytes() not in known)


def _ended(client: httpx2.Client, where: str) -> dict[str, Any]:
    job: dict[str, Any] = {}
    for _ in range(1200):
        job = client.get(where).json()
        if job["state"] in ("done", "failed", "cancelled"):
            return job
        time.sleep(0.1)
    raise AssertionError(job)


@pytest.mark.parametrize(
    ("host", "token", "word"),
    [
        ("0.0.0.0", None, "--host"),
        ("::", "", "--host"),
        ("192.0.2.7", "short", "--token"),
        ("127.0.0.1", "caf\u00e9", "--token"),
    ],
)
def test_serving_elsewhere_needs_a_token(host: str, token: str | None, word: str) -> None:
    with pytest.raises(UserError, match=word):
        ServeOptions(host=host, token=token).check()


def test_who_may_come_decides_the_rate() -> None:
    ServeOptions(host="0.0.0.0", token=TOKEN).check()
    assert ServeOptions(host="0.0.0.0", token=TOKEN).limits.rate == 100.0
    assert ServeOptions().limits.rate is None
    assert ServeOptions(host="0.0.0.0", token=TOKEN, rate=0.0).limits.rate is None
    assert [is_loopback(h) for h in ("localhost", "127.0.0.2", "::1")] == [True] * 3
    assert not any(is_loopback(h) for h in ("0.0.0.0", "::", "example.org"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "token"),
        (["--replicas", "2"], "--on-ray"),
    ],
)
def test_wrong_options_end_in_one_line(toy: Path, options: list[str], told: str) -> None:
    result = CliRunner().invoke(commands, ["serve", str(toy), *options])
    assert isinstance(result.exception, UserError)
    assert told in str(result.exception)


def test_a_port_that_is_taken_is_told(toy: Path) -> None:
    with served(toy, "--no-measuring") as (client, _):
        port = str(client.base_url.port)
        command = (sys.executable, "-P", "-m", "layershap", "serve", str(toy), "--port", port)
        home = str(Path(__file__).parents[3])
        ended = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": home}
        )
        assert ended.returncode == 1
        assert "--port" in ended.stderr
        assert len(ended.stderr.splitlines()) == 1


def test_a_run_without_a_surrogate_is_told(toy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy, run)
    shutil.rmtree(run / "surrogate")
    from surrogate import SurrogateNotFound

    result = CliRunner().invoke(commands, ["serve", str(run)])
    assert isinstance(result.exception, SurrogateNotFound)


def test_ray_serve_answers(toy: Path) -> None:
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed")
    with served(toy, "--on-ray", "--port", "8791", "--no-measuring") as (client, process):
        found = client.post("/predict", json={"remove": [2]}).json()
        assert found["value"] == pytest.approx(float(open_run(toy).predict(remove=[2])), abs=1e-6)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out.splitlines()[-1]) == (0, "stopped")
