"""Metrics: Prometheus text, or the same numbers as JSON."""

from __future__ import annotations

from collections import Counter as Count
from typing import Annotated, Any

from fastapi import APIRouter, Header
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.answers import errors, now
from gateway.breakers import Breaker, by_state, everything
from gateway.parts import Parts, Use
from gateway.statistics import statistics
from projections.read import ReadModelsAway
from projections.views import ProjectionHealth, SessionView

# Twice the lines for the moment each label was first seen: nobody reads those.
disable_created_metrics()
router = APIRouter(tags=["metrics"])

_KINDS: dict[str, Any] = {"text/plain": {}, "application/json": {}}


class Metrics:
    """The numbers of one gateway."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "wa_http_requests",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "wa_http_request_seconds",
            "Time to answer a request.",
            ["route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self._sessions = Gauge("wa_sessions", "Sessions by status.", ["status"], registry=registry)
        self._breakers = Gauge("wa_breakers", "Breakers by state.", ["state"], registry=registry)
        self._messages = Gauge(
            "wa_messages",
            "Messages of the sessions there are; a deleted session takes its own away.",
            ["direction"],
            registry=registry,
        )
        self._sends = Gauge("wa_sends", "Sends of this gateway.", ["outcome"], registry=registry)
        self._lag = Gauge(
            "wa_projection_lag_events",
            "Events by which a projection is behind the log.",
            ["projection"],
            registry=registry,
        )
        self._stopped = Gauge(
            "wa_projection_stopped",
            "1 if a projection stopped at an event.",
            ["projection"],
            registry=registry,
        )
        self._watching = Gauge("wa_websocket_clients", "Who watches.", registry=registry)
        self._dropped = Gauge(
            "wa_websocket_dropped", "Readers dropped as too slow.", registry=registry
        )
        self._up = Gauge("wa_up", "1 if it can be reached.", ["service"], registry=registry)

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. `route` is the template, never the path: that holds ids."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    async def text(self, parts: Parts) -> bytes:
        """Write everything as Prometheus reads it."""
        try:
            views, breakers = await parts.directory.every(), await everything(parts)
            self._show(views, breakers, await parts.reads.health())
            self._up.labels("redis").set(1)
        except ReadModelsAway:
            # Old numbers would look like news.
            for gauge in (self._sessions, self._breakers, self._messages, self._lag, self._stopped):
                gauge.clear()
            self._up.labels("redis").set(0)
        self._up.labels("nats").set(int(parts.broker.connected))
        self._watching.set(parts.feed.watching)
        self._dropped.set(parts.feed.dropped)
        for outcome, count in parts.sender.outcomes.items():
            self._sends.labels(outcome).set(count)
        return generate_latest(self._registry)

    def _show(
        self,
        views: list[SessionView],
        breakers: list[Breaker],
        health: list[ProjectionHealth],
    ) -> None:
        self._sessions.clear()
        for word, count in Count(view.word for view in views).items():
            self._sessions.labels(word).set(count)
        for state, count in by_state(breakers).items():
            self._breakers.labels(state).set(count)
        self._messages.labels("in").set(sum(view.totals.received for view in views))
        self._messages.labels("out").set(sum(view.totals.sent for view in views))
        for projection in health:
            if projection.lag is not None:
                self._lag.labels(projection.projection).set(projection.lag)
            self._stopped.labels(projection.projection).set(projection.stopped is not None)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": _KINDS}} | errors(503),
)
async def metrics(
    request: Request,
    parts: Use,
    accept: Annotated[str, Header(description="`application/json` gives JSON.")] = "text/plain",
) -> Response:
    """Give the numbers as Prometheus text, or the statistics of the pool as JSON."""
    if "application/json" in accept:
        views, nodes = await parts.directory.every(), await parts.reads.nodes()
        numbers = statistics(views, nodes, parts.settings)
        more = {"webSocketClients": parts.feed.watching, "sends": dict(parts.sender.outcomes)}
        return JSONResponse({"success": True, "timestamp": now()} | numbers | more)
    held: Metrics = request.app.state.metrics
    return Response(await held.text(parts), media_type=CONTENT_TYPE_LATEST)
