"""What this gateway counts and times while it works, for Prometheus.

Each application has a registry of its own. Labels are closed sets: a route's
template and never its path, a method that HTTP knows, a type of the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import Metric

from events.log import Stored
from gateway.event_instruments import EventInstruments
from gateway.frames import Told
from gateway.stages import Stages

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS"})


class Registry(CollectorRegistry):
    """A registry that does not tell when each label was first seen: nobody reads that."""

    def collect(self) -> Iterator[Metric]:
        """Give all metrics."""
        for metric in super().collect():
            metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
            yield metric


class Instruments:
    """Counters and histograms of one gateway."""

    def __init__(self) -> None:
        self.registry = registry = Registry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.events = EventInstruments(registry)
        self.stages = Stages(registry)
        self._requests = Counter(
            "wa_http_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._durations = Histogram(
            "wa_http_request_duration_seconds",
            "Time to answer a request.",
            ["method", "route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self._in_progress = Gauge(
            "wa_http_requests_in_progress", "Requests that are being answered.", registry=registry
        )
        self._deliveries = Counter(
            "wa_webhook_deliveries",
            "Attempts to deliver to a webhook, by how they went.",
            ["outcome"],
            registry=registry,
        )
        self._delivering = Histogram(
            "wa_webhook_delivery_seconds",
            "Time that a webhook takes to answer.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )

    def saw(self, stored: Stored, told: Told | None, began: float) -> None:
        """Count an event of the log; `began` is a reading of `perf_counter`."""
        self.events.take(stored, told, began)
        if told is not None:
            self.stages.take(stored, told)

    def began(self) -> None:
        """Note that a request came."""
        self._in_progress.inc()

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. `route` is the template, never the path: that holds ids."""
        self._in_progress.dec()
        known = method if method in METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        if status != 101:
            # How long somebody watches is no time to answer.
            self._durations.labels(known, route).observe(seconds)

    def delivered(self, outcome: str, seconds: float) -> None:
        """Count an attempt to deliver to a webhook."""
        self._deliveries.labels(outcome).inc()
        self._delivering.observe(seconds)
