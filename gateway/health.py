"""Health: all checks at once, each with a deadline of its own, and the routes that tell.

Unhealthy: Redis, NATS or the log does not work, so nothing can be promised (503).
Degraded: something else is not well, and the service goes on (200). A check that
does not answer in time counts as failed, and holds up nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

import structlog
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from events.clock import utc_now
from events.connection import AWAY
from gateway.answers import SECRET
from gateway.broker import BrokerAway
from gateway.callers import ANYONE, needs
from gateway.checks import CHECKS, CRITICAL
from gateway.checks.finding import Check, Finding, Look, Status, forget, milliseconds
from gateway.health_history import SHOWN, Chronicle, History, Past
from gateway.parts import Parts, Use
from gateway.wire import Json, instant
from projections.read import ReadModelsAway

log = structlog.get_logger()
router = APIRouter(tags=["health"])

AGAIN = {"Retry-After": "2"}

FRESH = 1.0
"""Seconds for which a report is given again: the route is open to everyone."""


@dataclass(frozen=True, slots=True)
class Report:
    """One look at everything. `duration` in milliseconds, `ill` names what is not well."""

    status: Status
    timestamp: str
    uptime: int
    duration: float
    checks: dict[str, Json]
    ill: tuple[str, ...]
    mends: list[str]

    @property
    def body(self) -> Json:
        """The JSON of `/health`."""
        return {
            "healthy": self.status != "unhealthy",
            "status": self.status,
            "timestamp": self.timestamp,
            "uptime": self.uptime,
            "checks": self.checks,
        }

    @property
    def past(self) -> Past:
        """What of it is remembered."""
        return Past(
            timestamp=self.timestamp, status=self.status, duration=self.duration, ill=self.ill
        )


class Health:
    """Looks at everything on an interval, and whenever it is asked."""

    def __init__(
        self,
        parts: Parts,
        history: History,
        checks: Mapping[str, Check] = CHECKS,
    ) -> None:
        self._parts = parts
        self._checks = checks
        self._history = history
        self._deadline = parts.settings.health_timeout
        self._began = time.monotonic()
        self._one_at_a_time = asyncio.Lock()
        self._newest: Report | None = None
        self._taken = float("-inf")

    @property
    def newest(self) -> Report | None:
        """The last report, however old; None before the first."""
        return self._newest

    @property
    def chronicle(self) -> Chronicle:
        """What was found so far."""
        return self._history.chronicle

    async def run(self) -> None:
        """Look now and then, for ever. Ends by cancellation only."""
        while True:
            # First: a gateway that has just started and is not connected yet is not ill.
            await asyncio.sleep(self._parts.settings.health_interval)
            report = await self.report()
            if self._history.newest != report.past:
                self._history.remember(report.past)
            if report.status != "healthy":
                log.warning("health.report", status=report.status, checks=report.ill)

    async def report(self) -> Report:
        """Look at everything, or return what was seen a moment ago."""
        async with self._one_at_a_time:
            if self._newest is None or time.monotonic() - self._taken > FRESH:
                self._newest = await self._look()
                self._taken = time.monotonic()
                self._note(self._newest)
            return self._newest

    def _note(self, report: Report) -> None:
        """Remember a change at once; what stays as it is, the interval remembers."""
        # Not every report: whoever asks each second would push all else out.
        before = self._history.newest
        if before is None or (before.status, before.ill) != (report.status, report.ill):
            self._history.remember(report.past)

    async def details(self) -> Json:
        """Return the report with history, statistics and what to do."""
        report = await self.report()
        chronicle = self._history.chronicle
        # No check: whether somebody's own server answers is no matter of this service's health.
        webhooks = self._parts.webhooks.statistics
        return report.body | {
            "current": report.body,
            "history": [past.shown for past in chronicle.reports[-SHOWN:]],
            "statistics": chronicle.statistics,
            "webhooks": asdict(webhooks),
            "recommendations": report.mends + _of_webhooks(webhooks.failing),
        }

    async def _look(self) -> Report:
        began = time.perf_counter()
        look = Look(self._parts)
        found = await asyncio.gather(*(self._check(check, look) for check in self._checks.values()))
        checks: dict[str, Json] = {}
        mends: list[str] = []
        ill: list[str] = []
        status: Status = "healthy"
        for name, (finding, took) in zip(self._checks, found, strict=True):
            checks[name] = {
                "healthy": finding.healthy,
                "message": finding.message,
                "metrics": finding.metrics,
                "duration": took,
            }
            if not finding.healthy:
                ill.append(name)
                grave = name in CRITICAL and not finding.degraded
                status = "unhealthy" if grave or status == "unhealthy" else "degraded"
            if finding.mend is not None:
                mends.append(f"{name}: {finding.mend}")
        return Report(
            status=status,
            timestamp=instant(utc_now()),
            uptime=int(time.monotonic() - self._began),
            duration=milliseconds(time.perf_counter() - began),
            checks=checks,
            ill=tuple(ill),
            mends=mends,
        )

    async def _check(self, check: Check, look: Look) -> tuple[Finding, float]:
        began = time.perf_counter()
        task = asyncio.ensure_future(check(look))
        # Not wait_for: that waits for a check which does not want to be cancelled.
        await asyncio.wait({task}, timeout=self._deadline)
        if not task.done():
            task.cancel()
            task.add_done_callback(forget)
            finding = Finding(False, "No answer in time", mend=_slow(self._deadline))
        else:
            finding = _found(task)
        return finding, milliseconds(time.perf_counter() - began)


def _slow(deadline: float) -> str:
    return (
        f"No answer within {deadline:g} s: what it asks hangs, or the machine is overloaded; "
        "look at the CPU, or raise HEALTH_TIMEOUT."
    )


def _of_webhooks(failing: int) -> list[str]:
    if not failing:
        return []
    lanes = "1 session's events" if failing == 1 else f"the events of {failing} sessions"
    return [
        f"webhooks: an endpoint does not take {lanes}; they are tried again by themselves. "
        "GET /api/webhooks says which and why: mend that server, or its URL."
    ]


def _found(task: asyncio.Future[Finding]) -> Finding:
    """Read how a check ended. What is away has a check of its own, which says what to do."""
    try:
        return task.result()
    except ReadModelsAway:
        return Finding(False, "Cannot be told: the read models are away")
    except (BrokerAway, *AWAY):
        return Finding(False, "Cannot be told: the message broker is away")
    except Exception as error:  # noqa: BLE001 - a broken check is a finding, not a 500
        log.warning("health.check_failed", error=type(error).__name__)
        return Finding(False, "The check itself failed", mend="Look at the gateway's log.")


def _health(request: Request) -> Health:
    health: Health = request.app.state.health
    return health


@router.get("/health", summary="How everything is", responses={503: {"description": "Unhealthy"}})
@needs(ANYONE)
async def whole(
    request: Request,
    detailed: Annotated[bool, Query(description="With history and what to do.")] = False,
) -> Response:
    """Look at everything. 200, or 503 when unhealthy; `duration` in ms, `uptime` in seconds."""
    health = _health(request)
    body = await health.details() if detailed else (await health.report()).body
    if body["healthy"]:
        return JSONResponse(body, headers=SECRET)
    return JSONResponse(body, 503, SECRET | AGAIN)


@router.get("/health/live", summary="Whether this process serves")
@needs(ANYONE)
async def live() -> Response:
    """Answer. A process that cannot should be started again."""
    return JSONResponse({"status": "alive", "timestamp": instant(utc_now())}, headers=SECRET)


@router.get(
    "/health/ready",
    summary="Whether requests should be sent here",
    responses={503: {"description": "Not ready"}},
)
@needs(ANYONE)
async def ready(parts: Use) -> Response:
    """Tell whether NATS and Redis can be reached."""
    try:
        await parts.reads.ping()
        reads = True
    except ReadModelsAway:
        reads = False
    checks = {"nats": parts.broker.connected, "redis": reads}
    fine = all(checks.values())
    body = {
        "status": "ready" if fine else "not_ready",
        "ready": fine,
        "checks": checks,
        "timestamp": instant(utc_now()),
    }
    return JSONResponse(body, 200 if fine else 503, SECRET if fine else SECRET | AGAIN)
