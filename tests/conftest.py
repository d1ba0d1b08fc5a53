from collections.abc import Iterator

import pytest

from tests.support.finished_run import finished_run
from tests.support.tiny_run import checkpoint

__all__ = ["checkpoint", "finished_run", "ray_address"]


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A local Ray cluster with two CPUs for the whole session, started when first asked for."""
    import ray

    from cluster import connect

    with connect(None, workers=2):
        yield ray.get_runtime_context().gcs_address
