"""The route of the metrics: Prometheus text, or the statistics of the pool as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.answers import errors, now
from gateway.callers import needs
from gateway.health import Health
from gateway.instruments import Registry
from gateway.parts import Parts, Use
from gateway.snapshot import Snapshot, snapshot
from gateway.statistics import statistics
from gateway.wire import Json

router = APIRouter(tags=["metrics"])

_KINDS: dict[str, Any] = {"text/plain": {}, "application/json": {}}


class _Scrape(Collector):
    """What was counted so far, and what is now."""

    def __init__(self, counted: Registry, now: Snapshot) -> None:
        self._counted, self._now = counted, now

    def collect(self) -> Iterator[Metric]:
        yield from self._counted.collect()
        yield from self._now.families()


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": _KINDS}} | errors(503),
)
@needs("read", admin=True)
async def metrics(
    request: Request,
    parts: Use,
    accept: Annotated[str, Header(description="`application/json` gives JSON.")] = "text/plain",
) -> Response:
    """Give the numbers as Prometheus text, or the statistics of the pool as JSON."""
    if "application/json" in accept:
        return JSONResponse(await _statistics(parts))
    health: Health = request.app.state.health
    registry = Registry()
    registry.register(_Scrape(parts.instruments.registry, await snapshot(parts, health.newest)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


async def _statistics(parts: Parts) -> Json:
    views, nodes = await parts.directory.every(), await parts.reads.nodes()
    taken = parts.browsers.now(None).values()
    return {
        "success": True,
        "timestamp": now(),
        **statistics(views, nodes, parts.settings),
        "webSocketClients": parts.feed.watching,
        "sends": dict(parts.sender.outcomes),
        "rateLimits": parts.quotas.statistics(),
        "browsers": {
            "measured": len(taken),
            "memory": sum(one.memory for one in taken),
            "cpu": round(sum(one.cpu for one in taken), 3),
        },
    }
