"""Predictions of many requests in one call: whoever waits while a call runs shares the next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from layershap.serve.http.errors import ServiceError
from layershap.serve.http.predictor import Predictor

__all__ = ["Batcher"]

MOST_ROWS = 65_536  # of a call


@dataclass(frozen=True, eq=False)
class _Waiting:
    oracle: Predictor
    rows: Bool[np.ndarray, "B n"]
    future: asyncio.Future[Float[np.ndarray, "B"]]


class Batcher:
    """A queue in front of the surrogate; it belongs to one event loop.

    Calls run one after the other: those that take long in a thread of their own, so that the loop
    goes on answering. A request alone is computed at once: nobody waits for a batch to fill.
    """

    def __init__(self, most_waiting: int, observe: Callable[[int, int], None]) -> None:
        """Starts the thread.

        Args:
            most_waiting: sets that may wait; more are refused.
            observe: told of the rows and the requests of each call.
        """
        self.most_waiting = most_waiting
        self._observe = observe
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="predicting")
        self._waiting: deque[_Waiting] = deque()
        self._rows = 0
        self._runner: asyncio.Task[None] | None = None

    async def __call__(
        self, oracle: Predictor, rows: Bool[np.ndarray, "B n"]
    ) -> Float[np.ndarray, "B"]:
        """Returns the predicted utilities of an oracle.

        Raises:
            ServiceError: 503 where too many wait.
        """
        if not len(rows):
            return np.empty(0)
        if self._rows and self._rows + len(rows) > self.most_waiting:
            raise ServiceError(
                503,
                "busy",
                f"sets: {self._rows:,} are waiting to be predicted and at most"
                f" {self.most_waiting:,} may; ask again in a second",
                headers={"Retry-After": "1"},
            )
        future: asyncio.Future[Float[np.ndarray, "B"]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(oracle, rows, future))
        self._rows += len(rows)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await future

    async def close(self) -> None:
        """Answers whoever waits, then ends the thread."""
        if self._runner is not None:
            await self._runner
        self._pool.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(0)  # whoever is being read already comes along
            batch = self._take()
            rows = batch[0].rows if len(batch) == 1 else np.concatenate([w.rows for w in batch])
            self._observe(len(rows), len(batch))
            try:
                oracle = batch[0].oracle
                if oracle.quick(len(rows)):
                    utilities = oracle.utilities(rows)
                else:
                    utilities = await loop.run_in_executor(self._pool, oracle.utilities, rows)
            except Exception as error:  # a request must never wait for ever
                for waiting in batch:
                    if not waiting.future.done():
                        waiting.future.set_exception(error)
                continue
            finally:
                self._rows -= len(rows)
            start = 0
            for waiting in batch:
                stop = start + len(waiting.rows)
                if not waiting.future.done():  # its client may have gone
                    waiting.future.set_result(utilities[start:stop])
                start = stop
        self._runner = None

    def _take(self) -> list[_Waiting]:
        """Returns the next requests to answer together, of one oracle; at least one."""
        batch = [self._waiting.popleft()]
        rows = len(batch[0].rows)
        while self._waiting:
            following = self._waiting[0]
            rows += len(following.rows)
            if following.oracle is not batch[0].oracle or rows > MOST_ROWS:
                break
            batch.append(self._waiting.popleft())
        return batch
