import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from starlette.testclient import TestClient

from layershap.serve.http import Limits, Snapshot, create_app
from layershap.serve.http.batching import Batcher
from layershap.serve.http.errors import ServiceError
from layershap.serve.http.limits import RateLimit
from layershap.serve.http.predictor import Predictor
from tests.support.service_samples import PLAYERS, N, SampleSource, sample, serving


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, N)) < 0.7


def removed(row: np.ndarray) -> list[str]:
    return [PLAYERS[k] for k in np.flatnonzero(~row)]


def test_token_and_hosts() -> None:
    app = create_app(SampleSource(), token="secret-token", hosts=["testserver"])
    with TestClient(app) as client:
        assert client.get("/health").status_code == 200
        for headers in (
            {},
            {"Authorization": "Bearer other"},
            {"Authorization": "Basic ???"},
            {"Authorization": "secret-token"},
        ):
            answer = client.get("/values", headers=headers)
            assert (answer.status_code, answer.json()["field"]) == (401, "Authorization")
            assert "Bearer" in answer.headers["www-authenticate"]
        assert client.get("/values", headers={"Authorization": "Bearer secret-token"}).is_success
        assert client.get("/values", auth=("anybody", "secret-token")).is_success
        assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421


def test_rate_limit_counts_each_client_by_itself() -> None:
    now = [0.0]
    limit = RateLimit(2.0, 3, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limit.take("b") == 0.0
    now[0] = 0.5
    assert limit.take("a") == 0.0
    assert limit.take("a") == 0.5
    with TestClient(create_app(SampleSource(), limits=Limits(rate=0.5, burst=1))) as client:
        assert client.get("/values").status_code == 200
        answer = client.get("/values")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert client.get("/ready").status_code == 200


def test_a_service_that_has_not_started_is_not_ready() -> None:
    client = TestClient(create_app(SampleSource()))  # its lifespan has not begun
    assert client.get("/health").status_code == 200
    for answer in (client.get("/ready"), client.post("/predict", json={"remove": []})):
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")


def test_a_changed_run_is_served_and_a_broken_one_is_not() -> None:
    source = SampleSource()
    old = source.snapshot
    told = {**vars(old), "coalitions": old.coalitions[-3:], "utilities": old.utilities[-3:]}
    assert told["coalitions"].all(axis=1).any()

    def served(client: TestClient, count: int) -> bool:
        for _ in range(100):
            if client.get("/run").json()["measured_sets"] == count:
                return True
            time.sleep(0.1)
        return False

    with TestClient(create_app(source)) as client:
        source.snapshot = Snapshot(**told)
        assert served(client, 3)
        source.snapshot = Snapshot(**{**told, "metric": "kl"})
        time.sleep(2.5)
        assert client.get("/run").json()["metric"] == "nll"
        source.snapshot = old
        assert served(client, len(old.utilities))


def test_requests_that_wait_share_a_call_and_too_many_are_refused() -> None:
    oracle, calls = Predictor(sample()), []

    async def ask() -> list[Any]:
        batcher = Batcher(50, lambda count, requests: calls.append((count, requests)))
        asked = [batcher(oracle, rows(5, seed)) for seed in range(12)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        await batcher.close()
        return found

    found = asyncio.run(ask())
    refused = [one for one in found if isinstance(one, ServiceError)]
    assert [one.status for one in refused] == [503, 503]
    for seed, one in enumerate(found[:10]):
        np.testing.assert_allclose(one, sample().regressor.predict(rows(5, seed)), atol=1e-6)
    assert sum(count for count, _ in calls) == 50
    assert max(requests for _, requests in calls) > 1


def test_an_error_in_the_surrogate_is_told_and_does_not_hang() -> None:
    class Broken(SampleSource):
        def load(self) -> Snapshot:
            return Snapshot(**{**vars(sample()), "regressor": regressor})

    class Regressor:
        n_features_in_, scores_ = N, sample().regressor.scores_
        broken = False

        def predict(self, X: np.ndarray) -> np.ndarray:
            if self.broken:
                raise RuntimeError("broken")
            return np.zeros(len(X))

    regressor = Regressor()
    with TestClient(create_app(Broken())) as client:
        regressor.broken = True
        answer = client.post("/predict", json={"remove": []})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert "broken" not in answer.text


def test_many_clients_at_once_get_each_their_own_answer() -> None:
    import httpx2

    asked = rows(60, 9)
    expected = -sample().regressor.predict(asked)
    with serving(create_app(SampleSource())) as address, httpx2.Client(base_url=address) as client:

        def one(row: np.ndarray) -> float:
            return client.post("/predict", json={"remove": removed(row)}).json()["value"]

        with ThreadPoolExecutor(16) as pool:
            np.testing.assert_allclose(list(pool.map(one, asked)), expected, atol=1e-6)
