"""What a service lets its clients ask for, and how often."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields

__all__ = ["Limits", "RateLimit"]

CLIENTS_KEPT = 10_000


@dataclass(frozen=True)
class Limits:
    """Limits of a service.

    Attributes:
        body_bytes: of a request's body.
        body_seconds: in which a body must have arrived.
        sets: of a request for predictions.
        waiting_sets: that may wait to be predicted, over all requests.
        rate: requests a second of one client, over any longer time; None for no limit. A client
            is an address.
        burst: requests that may come at once on top.
        measured_sets: of a request to measure.
        waiting_jobs: measurements that may wait.
        finished_jobs: measurements that are remembered.
    """

    body_bytes: int = 8 * 2**20
    body_seconds: float = 20.0
    sets: int = 50_000
    waiting_sets: int = 500_000
    rate: float | None = None
    burst: int = 50
    measured_sets: int = 1_000
    waiting_jobs: int = 16
    finished_jobs: int = 200

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise ValueError(f"{field.name} must be above 0, got {value}")


class RateLimit:
    """A bucket of tokens for each client: full it holds `burst`, and `rate` come a second."""

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Takes a token of a client's.

        Returns:
            0 if there was one, otherwise the seconds until there will be.
        """
        now = self._clock()
        tokens, since = self._buckets.pop(client, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - since) * self.rate)
        wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self.rate
        self._buckets[client] = (tokens - 1.0 if wait == 0.0 else tokens, now)
        if len(self._buckets) > CLIENTS_KEPT:
            self._buckets.popitem(last=False)
        return wait
