"""What health looks at: each check really asks, and says what it found."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import psutil
from nats import errors as nats_errors
from nats.js import errors as js_errors

from events import subjects
from events.clock import utc_now
from events.session import WITH_BROWSER, State
from events.subjects import SessionId
from gateway.breakers import by_state, everything
from gateway.broker import BrokerAway
from gateway.parts import Parts
from gateway.problems import Problem
from gateway.wire import Json
from projections.read import ReadModelsAway
from projections.views import SessionView

LARGEST_LAG = 1_000
"""Events by which a projection may be behind and be called healthy."""

FULL = 95.0
"""Per cent of memory or disk from which on a machine is called full."""

ASK = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    healthy: bool
    message: str
    metrics: Json = field(default_factory=dict[str, object])
    mend: str | None = None


Check = Callable[[Parts], Awaitable[Finding]]


async def redis(parts: Parts) -> Finding:
    """Ping Redis."""
    try:
        took = await parts.reads.ping()
    except ReadModelsAway:
        return Finding(False, "Redis does not answer", mend="Start Redis, or mend REDIS_HOST.")
    return Finding(True, "Redis answers", {"latency": _ms(took)})


async def nats(parts: Parts) -> Finding:
    """Make a round trip to NATS."""
    began = time.perf_counter()
    try:
        # Not flush(): a PONG that comes after its deadline ends nats-py's read loop, and
        # the whole connection is deaf until its pings have gone unanswered.
        async with asyncio.timeout(ASK):
            await parts.broker.jetstream.account_info()
    except js_errors.Error:
        pass  # It answers, if only that JetStream cannot; `persistence` says so.
    except (BrokerAway, nats_errors.Error, OSError, TimeoutError, ValueError):
        return Finding(False, "NATS does not answer", mend="Start NATS, or mend NATS_URL.")
    return Finding(True, "NATS answers", {"latency": _ms(time.perf_counter() - began)})


async def persistence(parts: Parts) -> Finding:
    """Look at the streams."""
    metrics: Json = {}
    try:
        js = parts.broker.jetstream
        for name in (subjects.EVENTS, subjects.COMMANDS):
            state = (await js.stream_info(name)).state
            metrics[name] = {
                "messages": state.messages,
                "bytes": state.bytes,
                "firstPosition": state.first_seq,
                "lastPosition": state.last_seq,
            }
    except js_errors.NotFoundError:
        mend = "Start a node: it declares the streams."
        return Finding(False, "A stream is missing", metrics, mend)
    except (BrokerAway, js_errors.Error, nats_errors.Error, OSError, TimeoutError):
        return Finding(False, "JetStream does not answer", metrics, "Look at NATS and its disk.")
    return Finding(True, "The log is kept", metrics)


async def session_pool(parts: Parts) -> Finding:
    """Look whether somebody takes creates, and whether a running session's owner is there."""
    views = await parts.directory.every()
    limit = parts.settings.max_sessions
    state = await parts.broker.jetstream.stream_info(
        subjects.COMMANDS, subjects_filter=subjects.ALL_CREATES
    )
    waiting = sum((state.state.subjects or {}).values())
    metrics: Json = {"sessions": len(views), "maxSessions": limit, "createsWaiting": waiting}
    running = [v for v in views if State(v.state) in WITH_BROWSER]
    if running:
        # Another one each time; its owner answers even with a no.
        view = running[int(time.monotonic()) % len(running)]
        metrics["ownerAnswers"] = await _owner_answers(parts, SessionId(view.user, view.bot))
        if not metrics["ownerAnswers"]:
            mend = "Start a node, or look at its log."
            return Finding(False, "The owner of a session does not answer", metrics, mend)
    if waiting > limit:
        return Finding(False, "Nobody takes creates", metrics, "Start a node.")
    if len(views) >= limit:
        return Finding(True, "The pool is full", metrics, "Raise MAX_SESSIONS, or add a node.")
    return Finding(True, f"{len(views)} of {limit} sessions", metrics)


async def _owner_answers(parts: Parts, session: SessionId) -> bool:
    try:
        await parts.asks.ask(session, "qr", timeout=ASK)
    except Problem as problem:
        return problem.reason not in {"no_owner", "no_answer"}
    return True


async def circuit_breakers(parts: Parts) -> Finding:
    """Count the breakers that are not closed."""
    metrics: Json = by_state(await everything(parts))
    if metrics["open"]:
        mend = "See which with `wa breakers`, and why: the lastError of the sessions."
        return Finding(False, f"{metrics['open']} open", metrics, mend)
    return Finding(True, "None is open", metrics)


async def websocket(parts: Parts) -> Finding:
    """Look at the tail that feeds everyone who watches."""
    feed = parts.feed
    metrics: Json = {"connections": feed.watching, "dropped": feed.dropped}
    if not feed.running:
        return Finding(False, "The tail of the log is cut", metrics, "It mends itself with NATS.")
    return Finding(True, f"{feed.watching} connected", metrics | {"position": feed.position})


async def sessions(parts: Parts) -> Finding:
    """Count sessions by state."""
    found = Counter(view.word for view in await parts.directory.every())
    total = found.total()
    metrics: Json = {"total": total, "byStatus": dict(found)}
    stuck = [v for v in await parts.directory.every() if _is_stuck(v)]
    if stuck:
        mend = "A node should have acted on their deadlines: look at its log."
        return Finding(
            False, f"{len(stuck)} past a deadline", metrics | {"stuck": len(stuck)}, mend
        )
    return Finding(True, f"{found['ready']} of {total} ready", metrics)


def _is_stuck(view: SessionView) -> bool:
    """Tell whether a transitional state is well past its deadline: nobody minds the session."""
    return view.deadline is not None and (utc_now() - view.deadline).total_seconds() > 60


async def reconnection(parts: Parts) -> Finding:
    """Count the sessions that are trying to come back."""
    views = await parts.directory.every()
    trying = [v for v in views if State(v.state) in {State.BACKING_OFF, State.OFFLINE}]
    metrics: Json = {
        "reconnecting": len(trying),
        "reconnections": sum(v.totals.reconnections for v in views),
    }
    if len(trying) > max(3, len(views) // 2):
        mend = "Look at the network, and at whether WhatsApp changed."
        return Finding(False, "Most sessions are away", metrics, mend)
    return Finding(True, f"{len(trying)} coming back", metrics)


async def system(parts: Parts) -> Finding:
    """Look at CPU, memory, disk and the event loop."""
    began = time.perf_counter()
    await asyncio.sleep(0.01)
    lag = max(0.0, time.perf_counter() - began - 0.01)
    memory = psutil.virtual_memory()
    home = parts.settings.data_dir
    disk = psutil.disk_usage(str(home if home.exists() else "."))
    metrics: Json = {
        "cpuPercent": psutil.cpu_percent(),
        "memoryPercent": memory.percent,
        "diskPercent": disk.percent,
        "gatewayMemory": psutil.Process().memory_info().rss,
        "loopLag": _ms(lag),
    }
    if memory.percent > FULL:
        return Finding(False, "Memory is full", metrics, "Stop some sessions, or add memory.")
    if disk.percent > FULL:
        return Finding(False, "The disk is full", metrics, "Make room on the disk.")
    return Finding(True, "Room enough", metrics)


async def projections(parts: Parts) -> Finding:
    """Look how far the read models are behind the log."""
    found = await parts.reads.health()
    metrics: Json = {
        view.projection: {"position": view.position, "lag": view.lag, "stopped": view.stopped}
        for view in found
    }
    stopped = [view.projection for view in found if view.stopped]
    if stopped:
        mend = "Look at the event it stopped at; then run: wa rebuild"
        return Finding(False, f"Stopped: {', '.join(stopped)}", metrics, mend)
    lag = max((view.lag or 0 for view in found), default=0)
    if lag > LARGEST_LAG:
        return Finding(False, f"{lag} events behind", metrics, "Start the projections.")
    return Finding(True, f"{lag} events behind", metrics)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


CHECKS: dict[str, Check] = {
    "redis": redis,
    "nats": nats,
    "sessionPool": session_pool,
    "circuitBreakers": circuit_breakers,
    "websocket": websocket,
    "sessions": sessions,
    "system": system,
    "persistence": persistence,
    "reconnection": reconnection,
    "projections": projections,
}
CRITICAL = frozenset({"redis", "nats", "persistence"})
"""Without these nothing can be done: unhealthy. Without others, some things: degraded."""
