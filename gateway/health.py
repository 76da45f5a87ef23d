"""Health: all checks at once, each with a deadline of its own, and the routes that tell."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Query
from nats import errors as nats_errors
from nats.js import errors as js_errors
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from events.clock import utc_now
from gateway.answers import SECRET
from gateway.broker import BrokerAway
from gateway.checks import CHECKS, CRITICAL, Check, Finding
from gateway.parts import Parts, Use
from gateway.wire import Json, instant
from projections.read import ReadModelsAway

log = structlog.get_logger()
router = APIRouter(tags=["health"])

DEADLINE = 2.0
"""Seconds that a check may take."""

FRESH = 1.0
"""Seconds for which a report is given again: the route is open to everyone."""

EVERY = 15.0
"""Seconds between reports that nobody asked for, so that there is a history."""


@dataclass(frozen=True, slots=True)
class Report:
    """One look at everything. `duration` in milliseconds."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: str
    uptime: int
    duration: float
    checks: dict[str, Json]
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


class Health:
    """Runs the checks and remembers the last ten reports."""

    def __init__(
        self,
        parts: Parts,
        checks: Mapping[str, Check] = CHECKS,
        deadline: float = DEADLINE,
    ) -> None:
        self._parts = parts
        self._checks = checks
        self._deadline = deadline
        self._began = time.monotonic()
        self._history: deque[Report] = deque(maxlen=10)
        self._total = 0
        self._failures = 0
        self._spent = 0.0
        self._one_at_a_time = asyncio.Lock()
        self._taken = float("-inf")

    async def run(self) -> None:
        """Look now and then, for ever. Ends by cancellation only."""
        while True:
            await asyncio.sleep(EVERY)
            report = await self.report()
            if report.status != "healthy":
                ill = [name for name, check in report.checks.items() if not check["healthy"]]
                log.warning("health.report", status=report.status, checks=ill)

    async def report(self) -> Report:
        """Look at everything, or return what was seen a moment ago."""
        async with self._one_at_a_time:
            if time.monotonic() - self._taken > FRESH or not self._history:
                self._remember(await self._look())
                self._taken = time.monotonic()
            return self._history[-1]

    async def details(self) -> Json:
        """Return the report with history, statistics and what to do."""
        report = await self.report()
        return report.body | {
            "current": report.body,
            "history": [
                {
                    "timestamp": past.timestamp,
                    "healthy": past.status != "unhealthy",
                    "status": past.status,
                    "duration": past.duration,
                }
                for past in self._history
            ],
            "statistics": {
                "healthyPercentage": round(100 * (1 - self._failures / self._total), 2),
                "averageDuration": round(self._spent / self._total, 2),
                "totalChecks": self._total,
                "failureCount": self._failures,
            },
            "recommendations": report.mends,
        }

    def _remember(self, report: Report) -> None:
        self._history.append(report)
        self._total += 1
        self._failures += report.status != "healthy"
        self._spent += report.duration

    async def _look(self) -> Report:
        began = time.perf_counter()
        found = await asyncio.gather(*(self._check(check) for check in self._checks.values()))
        checks: dict[str, Json] = {}
        mends: list[str] = []
        ill: set[str] = set()
        for name, (finding, took) in zip(self._checks, found, strict=True):
            checks[name] = {
                "healthy": finding.healthy,
                "message": finding.message,
                "metrics": finding.metrics,
                "duration": took,
            }
            if not finding.healthy:
                ill.add(name)
            if finding.mend is not None:
                mends.append(f"{name}: {finding.mend}")
        return Report(
            status="unhealthy" if ill & CRITICAL else "degraded" if ill else "healthy",
            timestamp=instant(utc_now()),
            uptime=int(time.monotonic() - self._began),
            duration=_ms(time.perf_counter() - began),
            checks=checks,
            mends=mends,
        )

    async def _check(self, check: Check) -> tuple[Finding, float]:
        began = time.perf_counter()
        task = asyncio.ensure_future(check(self._parts))
        # Not wait_for: that waits for a check which does not want to be cancelled.
        await asyncio.wait({task}, timeout=self._deadline)
        if not task.done():
            task.cancel()
            task.add_done_callback(_forget)
            finding = Finding(False, "No answer in time")
        else:
            finding = _found(task)
        return finding, _ms(time.perf_counter() - began)


def _found(task: asyncio.Future[Finding]) -> Finding:
    try:
        return task.result()
    except ReadModelsAway:
        return Finding(False, "The read models are away")
    except (BrokerAway, nats_errors.Error, js_errors.Error, OSError, TimeoutError):
        return Finding(False, "The message broker is away")
    except Exception as error:  # noqa: BLE001 - a broken check is a finding, not a 500
        log.warning("health.check_failed", error=type(error).__name__)
        return Finding(False, "The check itself failed")


def _forget(task: asyncio.Future[Finding]) -> None:
    if not task.cancelled():
        task.exception()


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _health(request: Request) -> Health:
    health: Health = request.app.state.health
    return health


@router.get("/health", summary="How everything is", responses={503: {"description": "Unhealthy"}})
async def whole(
    request: Request,
    detailed: Annotated[bool, Query(description="With history and what to do.")] = False,
) -> Response:
    """Look at everything. 200, or 503 when unhealthy; `duration` in ms, `uptime` in seconds."""
    health = _health(request)
    body = await health.details() if detailed else (await health.report()).body
    return JSONResponse(body, 200 if body["healthy"] else 503, SECRET)


@router.get("/health/live", summary="Whether this process serves")
async def live() -> Response:
    """Answer. A process that cannot should be started again."""
    return JSONResponse({"status": "alive", "timestamp": instant(utc_now())}, headers=SECRET)


@router.get(
    "/health/ready",
    summary="Whether requests should be sent here",
    responses={503: {"description": "Not ready"}},
)
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
    return JSONResponse(
        body, 200 if fine else 503, SECRET if fine else SECRET | {"Retry-After": "2"}
    )
