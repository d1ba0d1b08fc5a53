"""Numbers about a service in the format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

__all__ = ["CONTENT_TYPE_LATEST", "ServiceMetrics"]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, 100_000)


class ServiceMetrics:
    """The metrics of one app, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "layershap_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "layershap_request_seconds",
            "Seconds from a request's first byte to its answer's last.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "layershap_requests_in_flight", "Requests being answered.", registry=registry
        )
        self.predictions = Counter(
            "layershap_predictions", "Sets predicted by the surrogate.", registry=registry
        )
        self.batch_rows = Histogram(
            "layershap_batch_rows", "Sets in one call.", buckets=_ROWS, registry=registry
        )
        self.batch_requests = Histogram(
            "layershap_batch_requests",
            "Requests that shared one call.",
            buckets=_ROWS,
            registry=registry,
        )
        self.jobs = Gauge(
            "layershap_measurements", "Measurements by state.", ("state",), registry=registry
        )
        self.measured_sets = Gauge(
            "layershap_measured_sets", "Sets whose measured utility is known.", registry=registry
        )
        self.loads = Counter(
            "layershap_loads",
            "Times that the run was read, again when it changed.",
            ("result",),
            registry=registry,
        )

    def batch(self, rows: int, requests: int) -> None:
        """Counts a call of the surrogate."""
        self.predictions.inc(rows)
        self.batch_rows.observe(rows)
        self.batch_requests.observe(requests)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request; routes are patterns, so that clients cannot invent labels."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Returns everything in Prometheus' text format."""
        return generate_latest(self.registry)
