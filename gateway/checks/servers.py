"""The servers and what they keep: Redis, NATS, the streams on their disk, the read models."""

from __future__ import annotations

import asyncio
import time

import psutil
from nats import errors as nats_errors
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import StreamInfo

from events import subjects
from gateway.broker import BrokerAway
from gateway.checks.finding import ASK, Finding, Look, milliseconds
from gateway.wire import Json
from projections.read import ReadModelsAway

LARGEST_LAG = 1_000
"""Events by which a projection may be behind and be called healthy."""

FULL = 95.0
"""Per cent of a disk from which on it is called full."""

PROBE = "health-probe"
"""The key that is written to learn whether the broker can still write."""

_AWAY = (BrokerAway, nats_errors.Error, OSError, TimeoutError)


async def redis(look: Look) -> Finding:
    """Ping Redis, and tell who counts requests: without it, RATE_LIMIT_FALLBACK decides."""
    address = look.parts.settings.redis
    metrics: Json = {"kind": address.kind, "rateLimits": look.parts.quotas.keeper}
    try:
        took = await look.parts.reads.ping()
    except ReadModelsAway as away:
        mend = (
            "redis-server is not answering at its address: start it, or set REDIS_URL, or "
            "REDIS_HOST, REDIS_PORT and REDIS_PASSWORD, to one that runs. Nothing is lost "
            "meanwhile."
        )
        which = away.part or address.service
        said = f"Redis does not answer: {which}" if which else "Redis does not answer"
        return Finding(False, said, metrics, mend)
    return Finding(True, "Redis answers", metrics | {"latency": milliseconds(took)})


async def nats(look: Look) -> Finding:
    """Make a round trip to NATS."""
    began = time.perf_counter()
    try:
        # Not flush(): a PONG that comes after its deadline ends nats-py's read loop, and
        # the whole connection is deaf until its pings have gone unanswered.
        async with asyncio.timeout(ASK):
            await look.parts.broker.jetstream.account_info()
    except js_errors.Error:
        pass  # It answers, if only that JetStream cannot; `persistence` says so.
    except (*_AWAY, ValueError):
        mend = (
            "nats-server is not answering at its address: start it, or set NATS_URL and "
            "NATS_PASSWORD to one that runs. Sends are refused until then, none is lost."
        )
        return Finding(False, "NATS does not answer", mend=mend)
    took = milliseconds(time.perf_counter() - began)
    return Finding(True, "NATS answers", {"latency": took})


async def persistence(look: Look) -> Finding:
    """Look at the streams and at the disk, and write something."""
    metrics: Json = {}
    behind: list[str] = []
    # Where NATS itself is away, `nats` says what to do about it.
    js = look.parts.broker.jetstream
    try:
        for name in (subjects.EVENTS, subjects.COMMANDS):
            held = await js.stream_info(name)
            metrics[name] = shown(held)
            if not complete(held):
                behind.append(name)
        await _write(js)
    except js_errors.NotFoundError:
        mend = "A stream is missing: start a node, which declares the streams."
        return Finding(False, "A stream is missing", metrics, mend)
    except js_errors.NoStreamResponseError:
        mend = "JetStream has no leader for a stream: start the servers of its cluster."
        return Finding(False, "JetStream takes no writes", metrics, mend)
    except js_errors.Error:
        mend = (
            "JetStream refuses to work: look at nats-server's log, at the room on its disk "
            "and at whether most servers of its cluster run."
        )
        return Finding(False, "JetStream refuses to work", metrics, mend)
    disk = psutil.disk_usage(_there(look))
    metrics["disk"] = {"free": disk.free, "total": disk.total, "percent": disk.percent}
    if disk.percent > FULL:
        mend = f"The disk of DATA_DIR is full to {disk.percent:.0f} %: make room on it."
        return Finding(False, "The disk is nearly full", metrics, mend, degraded=True)
    if behind:
        mend = "A server of the cluster is away or behind: start it, or look at its log."
        told = f"Too few copies of {', '.join(behind)}"
        return Finding(False, told, metrics, mend, degraded=True)
    return Finding(True, "The log is kept and can be written", metrics)


def shown(held: StreamInfo) -> Json:
    """Describe a stream: what it holds, and how many of its copies are as it is."""
    state = held.state
    copies = (held.cluster.replicas if held.cluster else None) or []
    return {
        "messages": state.messages,
        "bytes": state.bytes,
        "firstPosition": state.first_seq,
        "lastPosition": state.last_seq,
        "replicas": held.config.num_replicas or 1,
        # Its name would be an address inside.
        "hasLeader": not copies or bool(held.cluster and held.cluster.leader),
        "replicasCurrent": 1 + sum(1 for copy in copies if copy.current and not copy.offline),
    }


def complete(held: StreamInfo) -> bool:
    """Tell whether a stream has as many copies as it should."""
    return bool(shown(held)["replicasCurrent"] >= (held.config.num_replicas or 1))


async def _write(js: JetStreamContext) -> None:
    """Write where nobody reads: that the disk is full, a reader does not notice."""
    place = f"$KV.{subjects.IDEMPOTENCY}.{PROBE}"
    await js.publish(place, b"", stream=f"KV_{subjects.IDEMPOTENCY}", timeout=ASK)


def _there(look: Look) -> str:
    home = look.parts.settings.data_dir
    return str(home if home.exists() else ".")


async def projections(look: Look) -> Finding:
    """Look how far the read models are behind the log."""
    found = await look.parts.reads.health()
    metrics: Json = {
        view.projection: {"position": view.position, "lag": view.lag, "stopped": view.stopped}
        for view in found
    }
    stopped = [view.projection for view in found if view.stopped]
    if stopped:
        mend = (
            f"The projection {stopped[0]} stopped at an event that it cannot apply: "
            "look at its log, then run `wa rebuild`."
        )
        return Finding(False, f"Stopped: {', '.join(stopped)}", metrics, mend)
    lags = [view.lag for view in found]
    if any(lag is None for lag in lags):
        return Finding(False, "How far behind cannot be told without the log", metrics)
    lag = max((lag or 0 for lag in lags), default=0)
    if lag > LARGEST_LAG:
        mend = "The read models are old: start the projections, or look at their log."
        return Finding(False, f"{lag} events behind", metrics, mend)
    return Finding(True, f"{lag} events behind", metrics)
