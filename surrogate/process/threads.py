"""How many threads the linear algebra may use: many of them fight over small matrices."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager

from threadpoolctl import ThreadpoolController

__all__ = ["few_threads"]

LARGE, THREADS_WHEN_LARGE = 1500, 2


def few_threads(rows: int) -> AbstractContextManager[object]:
    """Returns a context in which the linear algebra uses as many threads as pay.

    Args:
        rows: of the largest square matrix; one thread below 1,500, two from there on.
    """
    threads = THREADS_WHEN_LARGE if rows >= LARGE else 1
    allowed = min((lib["num_threads"] for lib in _controller().info()), default=threads)
    return _controller().limit(limits=min(threads, allowed), user_api="blas")


@functools.cache
def _controller() -> ThreadpoolController:
    # Looking for the libraries takes milliseconds, and a fit asks often.
    return ThreadpoolController().select(user_api="blas")
