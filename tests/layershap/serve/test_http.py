import base64
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from layershap.serve.http import Limits, create_app
from layershap.serve.http.packed_pattern import packed_pattern
from layershap.serve.http.predictor import Predictor, steps_from
from sampling import stream
from tests.support.service_samples import PLAYERS, N, SampleSource, ToyMeasurer, sample


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    limits = Limits(sets=1000, measured_sets=20, body_bytes=100_000)
    app = create_app(SampleSource(), limits=limits, measurer=ToyMeasurer())
    with TestClient(app) as client:
        yield client


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, N)) < 0.7


def removed(row: np.ndarray) -> list[str]:
    return [PLAYERS[k] for k in np.flatnonzero(~row)]


def test_one_set_is_predicted_as_in_python(client: TestClient) -> None:
    row = rows(1)
    shot = sample()
    found = client.post("/predict", json={"remove": removed(row[0]), "level": 0.9}).json()
    low, high = shot.regressor.predict_interval(row, 0.9)
    assert found["value"] == pytest.approx(-shot.regressor.predict(row)[0], abs=1e-9)
    assert (found["lower"], found["upper"]) == pytest.approx((-high[0], -low[0]), abs=1e-9)
    assert found["removed"] == removed(row[0])
    assert found["cost"] == pytest.approx(found["value"] - found["dense"])
    assert found["dense"] == pytest.approx(2.0)


def test_measured_sets_are_told_as_measured(client: TestClient) -> None:
    shot = sample()
    row = shot.coalitions[5]
    found = client.post("/predict", json={"remove": removed(row)}).json()
    assert found["measured"] == pytest.approx(-shot.utilities[5])
    known = {r.tobytes() for r in shot.coalitions}
    other = next(r for r in rows(200, 3) if r.tobytes() not in known)
    assert client.post("/predict", json={"remove": removed(other)}).json()["measured"] is None


def test_numbers_mean_layers_and_keep_is_the_rest(client: TestClient) -> None:
    by_number = client.post("/predict", json={"remove": [1, "L3.mlp"]}).json()
    assert by_number["removed"] == ["L1.attn", "L1.mlp", "L3.mlp"]
    rest = [name for name in PLAYERS if name not in by_number["removed"]]
    assert client.post("/predict", json={"keep": rest}).json() == by_number


def test_all_forms_of_many_sets_answer_the_same(client: TestClient) -> None:
    asked = rows(40)
    packed = np.packbits(asked, axis=1, bitorder="little").tobytes()
    forms: list[dict[str, Any]] = [
        {"remove": [removed(row) for row in asked]},
        {"keep": [removed(~row) for row in asked]},
        {"kept": ["".join("01"[int(k)] for k in row) for row in asked]},
        {"packed": base64.b64encode(packed).decode()},
    ]
    answers = [client.post("/predict/many", json=form).json() for form in forms]
    assert all(answer == answers[0] for answer in answers)
    shot = sample()
    np.testing.assert_allclose(answers[0]["value"], -shot.regressor.predict(asked), atol=1e-9)
    known = {r.tobytes(): -u for r, u in zip(shot.coalitions, shot.utilities, strict=True)}
    expected = {k: known[row.tobytes()] for k, row in enumerate(asked) if row.tobytes() in known}
    assert expected
    got = dict(zip(answers[0]["measured_rows"], answers[0]["measured"], strict=True))
    assert got == pytest.approx(expected)


def test_no_sets_are_no_predictions(client: TestClient) -> None:
    for form in ({"remove": []}, {"kept": []}, {"packed": ""}):
        assert client.post("/predict/many", json=form).json()["count"] == 0


def test_neighbours_are_the_best_of_all_steps(client: TestClient) -> None:
    found = client.post("/neighbours", json={"remove": [0], "limit": 3}).json()
    start = np.ones(N, bool)
    start[:2] = False
    steps, reached = steps_from(start)
    assert len(steps) == (N - 2) + 2 + 2 * (N - 2)
    oracle = Predictor(sample())
    answers = oracle.answers(reached, 0.95)
    best = np.where(np.isnan(answers.measured), answers.value, answers.measured)
    for kind, name in (("removal", "removals"), ("return", "returns"), ("swap", "swaps")):
        places = [k for k, step in enumerate(steps) if step.kind == kind]
        least = min(best[places])
        first = found[name][0]
        assert (first["measured"] or first["value"]) == pytest.approx(least)
        changes = [one["change"] for one in found[name]]
        assert changes == sorted(changes)
        assert len(changes) == min(3, len(places))
    assert client.post("/neighbours", json={"keep": ["L0.mlp"]}).json()["removals"] == []


def test_values_interactions_and_recommendations(client: TestClient) -> None:
    values = client.get("/values", params={"order": "value"}).json()
    assert [v["rank"] for v in values["values"]] == list(range(1, N + 1))
    assert values["values"][0]["player"] == PLAYERS[-1]
    pairs = client.get("/interactions", params={"limit": 2}).json()["interactions"]
    assert [(p["first"], p["second"]) for p in pairs] == [
        ("L0.mlp", "L1.mlp"),
        ("L0.attn", "L1.attn"),
    ]
    with_it = client.get("/interactions", params={"player": "3"}).json()
    assert with_it["total"] == 2 * (N - 2) + 1
    restricted = client.get("/values", params={"kind": "restricted"})
    assert restricted.status_code == 404
    assert "layershap values" in restricted.json()["message"]


def test_values_say_what_they_are_of(client: TestClient) -> None:
    values = client.get("/values").json()
    assert (values["kind"], values["value_of"], values["unit"], values["whole_utility"]) == (
        "shapley", "retention", "share of the whole model", -2.0,
    )  # fmt: skip
    pairs = client.get("/interactions").json()
    assert (pairs["value_of"], pairs["unit"]) == ("retention", "share of the whole model")


@pytest.mark.parametrize(
    ("filters", "counts"),
    [
        ({}, [1, 2]),
        ({"max_cost": 0.12}, [1]),
        ({"max_cost": 0.12, "certain": True}, []),
        ({"min_prefill": 1.2}, [2]),
        ({"min_decoding": 1.05}, [1]),
        ({"min_saved": 0.15}, [2]),
        ({"most_count": 1}, [1]),
        ({"count": 2}, [2]),
        ({"containing": "L0.mlp"}, [2]),
    ],
)
def test_filters(client: TestClient, filters: dict[str, Any], counts: list[int]) -> None:
    found = client.get("/recommendations", params=filters).json()
    assert found["total"] == 2
    assert [item["count"] for item in found["recommendations"]] == counts


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/predict", {}, 422, "remove"),
        ("/predict", {"remove": [], "keep": []}, 422, "keep"),
        ("/predict", {"remove": 4}, 422, "remove"),
        ("/predict", {"remove": [True]}, 422, "remove[0]"),
        ("/predict", {"remove": [0, 1.5]}, 422, "remove[1]"),
        ("/predict", {"remove": [0, "L9"]}, 422, "remove[1]"),
        ("/predict", {"remove": ["\ud800"]}, 422, "remove[0]"),
        ("/predict", {"remove": [10**30]}, 422, "remove[0]"),
        ("/predict", {"remove": [], "level": 1}, 422, "level"),
        ("/predict", {"remove": [], "level": "0.9"}, 422, "level"),
        ("/predict", {"remove": [], "levle": 0.9}, 422, "levle"),
        ("/predict", [], 422, "body"),
        ("/predict/many", {"kept": ["1" * N, "1"]}, 422, "kept[1]"),
        ("/predict/many", {"kept": ["1" * (N - 1) + "é"]}, 422, "kept[0]"),
        ("/predict/many", {"kept": ["1" * N] * 1001}, 422, "kept"),
        ("/predict/many", {"packed": "%%%"}, 422, "packed"),
        ("/predict/many", {"packed": base64.b64encode(bytes(1001)).decode()}, 422, "packed"),
        ("/predict/many", {"remove": [[0], [0, "x"]]}, 422, "remove[1][1]"),
        ("/neighbours", {"remove": [], "limit": 0}, 422, "limit"),
        ("/measurements", {"remove": []}, 422, "remove"),
        ("/measurements", {"remove": [[0]], "text": "other"}, 422, "text"),
        ("/measurements", {"remove": [[0]] * 21}, 422, "remove"),
        ("/nowhere", {}, 404, "path"),
        ("/values", {}, 405, "method"),
    ],
)
def test_wrong_requests_name_the_field(
    client: TestClient, path: str, body: Any, status: int, field: str
) -> None:
    answer = client.post(
        path, content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    error = answer.json()
    assert set(error) == {"code", "message", "field", "request_id"}
    assert error["field"] == field
    assert error["message"].startswith((field, f"{field.partition('[')[0]}", "remove, keep"))
    assert error["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("content", "kind", "status", "field"),
    [
        (b"{", "application/json", 400, "body"),
        (b'{"remove": [], "level": NaN}', "application/json", 422, "level"),
        (b"\xff\xfe{}", "application/json", 400, "body"),
        (b"[" * 50_000, "application/json", 400, "body"),
        (b'{"remove": []}', "text/plain", 415, "Content-Type"),
        (b" " * 100_001, "application/json", 413, "body"),
        (b"", "application/json", 422, "body"),
    ],
)
def test_bodies_that_cannot_be_read(
    client: TestClient, content: bytes, kind: str, status: int, field: str
) -> None:
    answer = client.post("/predict", content=content, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_a_body_without_a_length_is_bounded_too(client: TestClient) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(30):
            yield b" " * 10_000

    answer = client.post("/predict", content=parts(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_wrong_query_parameters_are_named(client: TestClient) -> None:
    for params, field in (
        ({"max_cots": 1}, "max_cots"),
        ({"max_cost": "nan"}, "max_cost"),
        ({"count": -1}, "count"),
        ({"containing": "L77"}, "containing"),
    ):
        answer = client.get("/recommendations", params=params)
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_request_ids_are_echoed_or_made(client: TestClient) -> None:
    given = client.get("/health", headers={"X-Request-ID": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    made = client.get("/health", headers={"X-Request-ID": "bad id\t"})
    assert len(made.headers["x-request-id"]) == 32


def test_metrics_count_by_route(client: TestClient) -> None:
    client.get("/measurements/none")
    text = client.get("/metrics").text
    assert 'route="/measurements/{id}",status="404"' in text
    assert "layershap_predictions_total" in text
    assert 'route="unmatched"' in text or "nowhere" not in text


def test_schema_names_players_and_the_reference_loads_nothing(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert set(PLAYERS) < set(schema["components"]["schemas"]["Player"]["enum"])
    page = client.get("/docs").text
    assert "/predict/many" in page
    assert "http://" not in page
    assert "https://" not in page
    assert client.get("/", follow_redirects=False).headers["location"] == "docs"


def waited(client: TestClient, name: str, *states: str) -> dict[str, Any]:
    job: dict[str, Any] = {}
    for _ in range(500):
        job = client.get(f"/measurements/{name}").json()
        if job["state"] in states:
            return job
        time.sleep(0.01)
    raise AssertionError(job)


def test_measuring_goes_from_asked_to_done(client: TestClient) -> None:
    answer = client.post("/measurements", json={"remove": [[0], ["L3.mlp"]]})
    assert answer.status_code == 202
    name = answer.json()["id"]
    assert answer.headers["location"] == f"/measurements/{name}"
    job = waited(client, name, "done")
    assert job["progress"]["done"] == job["progress"]["total"] == 2
    assert job["result"]["sets"][1]["value"] == pytest.approx(2.8)
    assert client.get("/measurements").json()["jobs"][0]["id"] == name
    failed = client.post("/measurements", json={"remove": [[0]] * 7, "text": "heldout"})
    assert "no seven" in waited(client, failed.json()["id"], "failed")["error"]


def test_measuring_is_taken_back_and_waits_in_turn() -> None:
    measurer = ToyMeasurer(seconds=30.0)
    limits = Limits(waiting_jobs=1)
    with TestClient(create_app(SampleSource(), limits=limits, measurer=measurer)) as client:
        first = client.post("/measurements", json={"remove": [[0]]}).json()["id"]
        waited(client, first, "running")
        second = client.post("/measurements", json={"remove": [[1]]}).json()["id"]
        full = client.post("/measurements", json={"remove": [[2]]})
        assert full.status_code == 429
        assert full.json()["code"] == "too_many_measurements"
        assert client.delete(f"/measurements/{second}").json()["state"] == "cancelled"
        assert client.delete(f"/measurements/{first}").json()["state"] == "cancelling"
        waited(client, first, "cancelled")
        third = client.post("/measurements", json={"remove": [[2]]}).json()["id"]
        waited(client, third, "running")
    assert measurer.stopped == 2  # the service's end stops what runs
    assert measurer.closed


def test_without_a_measurer_measuring_is_off() -> None:
    with TestClient(create_app(SampleSource())) as client:
        answer = client.post("/measurements", json={"remove": [[0]]})
        assert (answer.status_code, answer.json()["code"]) == (409, "measuring_off")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/predict", "POST"), ("/measurements", "GET, POST"), ("/measurements/x", "DELETE, GET")],
)
def test_all_methods_of_a_path_are_told(client: TestClient, path: str, allowed: str) -> None:
    answer = client.request("PUT", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_layer_may_be_any_json_number_of_its_value(client: TestClient) -> None:
    answers = [client.post("/predict", json={"remove": [k]}).json() for k in (2, 2.0)]
    assert answers[0]["removed"] == answers[1]["removed"]
    wrong = client.post("/predict", json={"remove": [2.5]})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "unknown_player")


def test_a_compressed_body_is_refused_by_its_header(client: TestClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = client.post("/predict", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (415, "Content-Encoding")


@pytest.mark.parametrize("players", [1, 8, 12, 24, 32, 64, 130])
def test_the_pattern_of_packed_sets_is_what_is_accepted(players: int) -> None:
    pattern, width = re.compile(packed_pattern(players)), -(-players // 8)
    for count in range(7):
        rows = stream(count, "packed").random((count, players)) < 0.5
        content = np.packbits(rows, axis=1, bitorder="little").tobytes()
        assert pattern.fullmatch(base64.b64encode(content).decode())
        if width > 1:
            assert not pattern.fullmatch(base64.b64encode(content + b"\0").decode())
        for bit in range(players, 8 * width):
            wrong = content + bytes(width - 1) + bytes([1 << bit % 8])
            assert not pattern.fullmatch(base64.b64encode(wrong).decode())
