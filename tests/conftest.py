"""Fixtures that many folders share, the marks that follow from them, and an option."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.finished_run import finished_run
from tests.support.refusals import wording
from tests.support.tiny_run import checkpoint

__all__ = ["checkpoint", "finished_run", "ray_address", "wording"]

MARKS = {"ray_address": "pipeline", "tab": "browser"}
"""By fixture: whoever asks for it is marked."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-snapshots",
        action="store_true",
        help="write the wording of refusals to tests/snapshots instead of comparing it",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in MARKS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(MARKS[name])


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is typed in tests is not remembered beyond them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A local Ray cluster with two CPUs for the whole session, started when first asked for."""
    import ray

    from cluster import connect

    with connect(None, workers=2):
        yield ray.get_runtime_context().gcs_address
