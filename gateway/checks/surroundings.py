"""What surrounds the service: the machine, the browsers' appetite, and who watches."""

from __future__ import annotations

import asyncio
import time

import psutil

from events.session import WITH_BROWSER, State
from events.subjects import SessionId
from gateway.checks.finding import Finding, Look, milliseconds
from gateway.wire import Json
from projections.read import ReadModelsAway

FULL = 95.0
"""Per cent of memory from which on a machine is called full."""


async def websocket(look: Look) -> Finding:
    """Look at the tail that feeds everyone who watches."""
    feed = look.parts.feed
    metrics: Json = {"connections": feed.watching, "dropped": feed.dropped}
    if not feed.running:
        return Finding(False, "The tail of the log is cut", metrics)
    return Finding(True, f"{feed.watching} connected", metrics | {"position": feed.position})


async def system(look: Look) -> Finding:
    """Look at CPU and memory of this machine, at the event loop, and at the browsers."""
    began = time.perf_counter()
    await asyncio.sleep(0.01)
    lag = max(0.0, time.perf_counter() - began - 0.01)
    memory = psutil.virtual_memory()
    metrics: Json = {
        "cpuPercent": psutil.cpu_percent(),
        "cpuCount": psutil.cpu_count(),
        "load": round(psutil.getloadavg()[0], 2),
        "memoryPercent": memory.percent,
        "memoryTotal": memory.total,
        "memoryAvailable": memory.available,
        "gatewayMemory": psutil.Process().memory_info().rss,
        "loopLag": milliseconds(lag),
        "browsers": await _browsers(look),
    }
    if memory.percent > FULL:
        mend = (
            f"{memory.percent:.0f} % of the memory is taken: stop some sessions, lower "
            "SESSION_MEMORY_MB, or add memory. No browser is launched before there is room."
        )
        return Finding(False, "Memory is full", metrics, mend)
    return Finding(True, "Room enough", metrics)


async def _browsers(look: Look) -> Json:
    """Sum up what nodes told of their browsers. `memory` in bytes, `cpu` in cores."""
    try:
        running = {
            SessionId(view.user, view.bot)
            for view in await look.sessions()
            if State(view.state) in WITH_BROWSER
        }
    except ReadModelsAway:
        running = None
    held = look.parts.browsers.now(running).values()
    return {
        "measured": len(held),
        "memory": sum(usage.memory for usage in held),
        "cpu": round(sum(usage.cpu for usage in held), 3),
    }
