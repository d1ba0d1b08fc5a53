"""Requests made from the OpenAPI schema, right and wrong ones, against the running server."""

from collections.abc import Iterator

import pytest

schemathesis = pytest.importorskip(
    "schemathesis", reason="schemathesis is not installed (make setup installs it)"
)

from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from layershap.serve.http import Limits, create_app  # noqa: E402
from tests.support.service_samples import SampleSource, ToyMeasurer, serving  # noqa: E402

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
]
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    limits = Limits(waiting_jobs=100_000, finished_jobs=20)
    with serving(create_app(SampleSource(), limits=limits, measurer=ToyMeasurer())) as address:
        yield address


@pytest.fixture(scope="module")
def schema(address: str):
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


CASES = [
    (path, method, mode)
    for path, operations in create_app(SampleSource()).openapi()["paths"].items()
    for method, operation in operations.items()
    for mode in GenerationMode
    # Where nothing is asked for, nothing of it can be wrong.
    if mode.is_positive or "requestBody" in operation or operation.get("parameters")
]


@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_every_answer_is_as_the_schema_says(schema, path: str, method: str, mode) -> None:
    operation = schema[path][method]
    checked = []

    @EXAMPLES
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case) -> None:
        case.call_and_validate(checks=CHECKS)
        checked.append(case)

    check()
    assert checked
