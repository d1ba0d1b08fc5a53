"""What is still to be measured: the next chunk to hand out, and what to do with a lost one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from cluster.schedule import costs, next_stop

__all__ = ["Backlog", "Chunk"]

PROBE = 4  # coalitions in a chunk while nobody knows how long one takes
LEAST_SECONDS = 0.05  # handing out a chunk costs milliseconds; shorter chunks would feel it
MEMORY = 0.7  # weight of the past in the running mean of the rate


@dataclass(frozen=True)
class Chunk:
    """The sorted coalitions ``start .. stop - 1``.

    Attributes:
        start: first row.
        stop: one past the last row.
        deaths: how many workers died of it, counted only while it is a single coalition.
    """

    start: int
    stop: int
    deaths: int = 0

    def __len__(self) -> int:
        return self.stop - self.start


class Backlog:
    """Hands out each coalition until it is either finished or set aside.

    Args:
        coalitions: sorted rows.
        workers: how many share them.
        head_cost: cost of the head, in layer evaluations.
        chunk_seconds: how long a chunk may take, once the rate is known.
        max_attempts: how many workers a single coalition may kill.
    """

    def __init__(
        self,
        coalitions: Bool[np.ndarray, "B n"],
        *,
        workers: int,
        head_cost: float = 2.0,
        chunk_seconds: float = 3.0,
        max_attempts: int = 3,
    ) -> None:
        self.coalitions = coalitions
        self.costs = costs(coalitions, head_cost)
        self.workers = workers
        self.chunk_seconds = chunk_seconds
        self.max_attempts = max_attempts
        self._cursor = 0
        self._returned: deque[Chunk] = deque()
        self._rate: float | None = None  # layer evaluations a second, of one worker
        self._open = len(coalitions)

    @property
    def waiting(self) -> int:
        """How many coalitions nobody works on."""
        return len(self.coalitions) - self._cursor + sum(map(len, self._returned))

    @property
    def finished(self) -> bool:
        """Whether every coalition is measured or set aside."""
        return self._open == 0

    def take(self) -> Chunk | None:
        """Returns the next chunk to measure, or nothing if all are handed out."""
        if self._returned:
            return self._returned.popleft()
        start, stop = self._cursor, len(self.coalitions)
        if start == stop:
            return None
        if self._rate is None:
            self._cursor = next_stop(self.costs, start, stop, workers=self.workers)
            self._cursor = min(self._cursor, start + PROBE)
        else:
            self._cursor = next_stop(
                self.costs,
                start,
                stop,
                workers=self.workers,
                most=self._rate * self.chunk_seconds,
                least=self._rate * LEAST_SECONDS,
            )
        return Chunk(start, self._cursor)

    def give_back(self, chunk: Chunk) -> None:
        """Puts back a chunk that never started; it is handed out next, as it is."""
        self._returned.appendleft(chunk)

    def done(self, chunk: Chunk, seconds: float) -> None:
        """Closes a measured chunk and learns the rate from it."""
        self._open -= len(chunk)
        rate = self.costs.of_run(chunk.start, chunk.stop) / max(seconds, 1e-6)
        self._rate = rate if self._rate is None else MEMORY * self._rate + (1 - MEMORY) * rate

    def died(self, chunk: Chunk) -> bool:
        """Takes back a chunk whose worker died while measuring it.

        Its halves are handed out again, after what was returned before, so that the coalition
        that kills its workers ends up alone and the others get measured.

        Returns:
            Whether the chunk is a single coalition that has killed ``max_attempts`` workers. It
            is then set aside: closed, and not handed out again.
        """
        if len(chunk) > 1:
            middle = (chunk.start + chunk.stop) // 2
            self._returned.append(Chunk(chunk.start, middle))
            self._returned.append(Chunk(middle, chunk.stop))
            return False
        deaths = chunk.deaths + 1
        if deaths < self.max_attempts:
            self._returned.append(Chunk(chunk.start, chunk.stop, deaths))
            return False
        self._open -= 1
        return True
