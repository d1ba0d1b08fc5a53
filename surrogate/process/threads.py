"""How many threads linear algebra gets: small matrices lose more to waiting than they win."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["linear_algebra"]

ROWS_A_THREAD = 768


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # finding the libraries takes milliseconds, so that is done once


def linear_algebra(rows: int) -> AbstractContextManager[object]:
    """Returns a context in which the libraries use as many threads as square matrices are worth.

    Never more threads than they would use otherwise.

    Args:
        rows: of the matrices.
    """
    controller = _controller()
    allowed = [library["num_threads"] for library in controller.info()]
    return controller.limit(limits=max(1, min([rows // ROWS_A_THREAD, *allowed])))
