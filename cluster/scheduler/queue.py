"""What is still to be measured: the next chunk to hand out, and what to do with a lost one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from cluster.scheduler.chunking import next_stop
from sampling.prefix_costs import prefix_costs

__all__ = ["Chunk", "Pace", "WorkQueue"]

PROBE = 4  # coalitions in a chunk for a worker of which nobody knows how fast it is
LEAST_SECONDS = 0.05  # handing out a chunk costs milliseconds; shorter chunks would feel it
MOST_ROWS = 4096  # bounds the memory of a reply, however fast the evaluator
MEMORY = 0.7  # weight of the past in a worker's speed, a chunk
DOUBTS = 3  # losses of sight that weigh as much as one death


@dataclass(frozen=True)
class Chunk:
    """The coalitions ``start .. stop - 1``, in the order in which they are measured."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Pace:
    """How fast one worker is, from its latest chunks."""

    def __init__(self) -> None:
        self._cost = self._seconds = 0.0

    @property
    def rate(self) -> float | None:
        """Layer evaluations a second; nothing before the first chunk."""
        return self._cost / self._seconds if self._seconds else None

    def learn(self, cost: float, seconds: float) -> None:
        """Counts a measured chunk in."""
        self._cost = MEMORY * self._cost + cost
        self._seconds = MEMORY * self._seconds + max(seconds, 1e-6)


class WorkQueue:
    """Hands out each coalition until it is either finished or quarantined.

    Args:
        coalitions: rows in the order in which they are to be measured.
        player_costs: cost of each player; nothing for one layer evaluation each.
        head_cost: cost of what every coalition needs, in the same unit.
        chunk_seconds: how long a chunk may take, once the worker's speed is known.
        max_attempts: how many workers a single coalition may kill.
    """

    def __init__(
        self,
        coalitions: Bool[np.ndarray, "B n"],
        *,
        player_costs: Float[np.ndarray, "n"] | Sequence[float] | None = None,
        head_cost: float = 2.0,
        chunk_seconds: float = 3.0,
        max_attempts: int = 3,
    ) -> None:
        self.coalitions = coalitions
        self.costs = prefix_costs(coalitions, player_costs, head_cost)
        self.chunk_seconds = chunk_seconds
        self.max_attempts = max_attempts
        self._cursor = 0
        self._returned: deque[Chunk] = deque()
        self._out: set[Chunk] = set()
        self._open = self._waiting = len(coalitions)
        self._cost_done = 0.0
        self._most_rows = MOST_ROWS
        # By row and node, for coalitions that were alone when their worker died.
        self._deaths: dict[int, Counter[str]] = {}
        self._doubts: Counter[int] = Counter()

    @property
    def waiting(self) -> int:
        """How many coalitions nobody works on."""
        return self._waiting

    @property
    def open(self) -> int:
        """How many coalitions are neither measured nor quarantined."""
        return self._open

    @property
    def finished(self) -> bool:
        """Whether every coalition is measured or quarantined."""
        return self._open == 0

    @property
    def cost_total(self) -> float:
        """Cost of all coalitions measured in one go."""
        return float(self.costs.before[-1])

    @property
    def cost_done(self) -> float:
        """Cost of those that are finished."""
        return self._cost_done

    def take(
        self, pace: Pace, share: float = 1.0, least_seconds: float = LEAST_SECONDS
    ) -> Chunk | None:
        """Returns the next chunk to measure, or nothing if all are handed out.

        Args:
            pace: of the worker that takes it.
            share: its speed as a part of the speed of all workers together.
            least_seconds: shortest chunk wanted, so that handing out work stays cheap.
        """
        again = self._returned.popleft() if self._returned else None
        start, stop = (again.start, again.stop) if again else (self._cursor, len(self.coalitions))
        if start == stop:
            return None
        rate, rows = pace.rate, self._most_rows
        if rate is None:
            rows = min(rows, len(again) if again else PROBE)
            end = next_stop(self.costs, start, stop, workers=1 / share)
        else:
            end = next_stop(
                self.costs,
                start,
                stop,
                # What was returned is a part of what is left already.
                workers=0.5 if again else 1 / share,
                most=rate * self.chunk_seconds,
                least=rate * least_seconds,
            )
        chunk = Chunk(start, min(end, start + rows))
        if again is None:
            self._cursor = chunk.stop
        elif chunk.stop < stop:
            self._returned.appendleft(Chunk(chunk.stop, stop))
        self._out.add(chunk)
        self._waiting -= len(chunk)
        return chunk

    def expects(self, chunk: Chunk) -> bool:
        """Tells whether a chunk is handed out: a reply that comes later counts for nothing."""
        return chunk in self._out

    def give_back(self, chunk: Chunk) -> None:
        """Puts back a chunk that never started; it is handed out next."""
        self._come_back(chunk)
        self._returned.appendleft(chunk)

    def done(self, chunk: Chunk, seconds: float, pace: Pace) -> None:
        """Closes a measured chunk and learns the worker's speed from it.

        Args:
            chunk: that was handed out.
            seconds: that its worker took.
            pace: of that worker.
        """
        self._out.remove(chunk)
        self._open -= len(chunk)
        cost = self.costs.of_run(chunk.start, chunk.stop)
        self._cost_done += cost
        pace.learn(cost, seconds)

    def died(self, chunk: Chunk, node: str = "", *, certain: bool = True) -> bool:
        """Takes back a chunk whose worker died while measuring it.

        Its halves are handed out again, after what was returned before, so that the coalition
        that kills its workers ends up alone and the others get measured.

        Args:
            chunk: what the worker was measuring.
            node: where it ran.
            certain: whether its process died, and not only the way to it.

        Returns:
            Whether the chunk is a single coalition that has killed ``max_attempts`` workers. It
            is then closed, and not handed out again.
        """
        self._come_back(chunk)
        if len(chunk) > 1:
            self._halve(chunk)
            return False
        row = chunk.start
        if certain:
            self._deaths.setdefault(row, Counter())[node] += 1
        else:
            self._doubts[row] += 1
        if self.guilt(row) < self.max_attempts:
            self._returned.append(chunk)
            return False
        self._waiting -= 1
        self._open -= 1
        return True

    def lost(self, chunk: Chunk) -> None:
        """Takes back a chunk that was lost with its node, which is no fault of the coalitions."""
        self._come_back(chunk)
        self._returned.append(chunk)

    def too_large(self, chunk: Chunk) -> bool:
        """Takes back a chunk that did not fit into memory, to be handed out in halves.

        Returns:
            Whether it could be halved. A single coalition cannot.
        """
        self._come_back(chunk)
        self._most_rows = min(self._most_rows, max(len(chunk) // 2, 1))
        if len(chunk) == 1:
            self._returned.append(chunk)
            return False
        self._halve(chunk)
        return True

    def guilt(self, row: int) -> int:
        """Returns how many deaths are laid to one coalition."""
        return sum(self._deaths.get(row, Counter()).values()) + self._doubts[row] // DOUBTS

    def forgive(self, node: str) -> None:
        """Takes back the deaths on a node that turned out to be dying itself."""
        for deaths in self._deaths.values():
            deaths.pop(node, None)

    def _come_back(self, chunk: Chunk) -> None:
        self._out.remove(chunk)
        self._waiting += len(chunk)

    def _halve(self, chunk: Chunk) -> None:
        middle = (chunk.start + chunk.stop) // 2
        self._returned.append(Chunk(chunk.start, middle))
        self._returned.append(Chunk(middle, chunk.stop))
