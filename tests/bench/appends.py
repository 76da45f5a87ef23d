"""Appends to the log beside the same bytes published to JetStream, at the same durability."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import nats
from nats.js import JetStreamContext

from events import codec, subjects
from events.clock import utc_now
from events.jetstream_log import JetStreamLog
from events.log import Guard
from events.message import Received
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from tests.bench.rows import Row, Say
from tests.services import nats_server

WRITERS = 100
EACH = 40
"""Events of each writer in one run."""


async def measure(home: Path, runs: int, say: Say) -> list[Row]:
    """Append and publish in turn."""
    ours: list[float] = []
    raw: list[float] = []
    with nats_server(home, durable=True) as server:
        client = await nats.connect(server.url)
        js = client.jetstream()
        await declare(js, _settings())
        log = JetStreamLog(js)
        for number in range(runs):
            ours.append(await _a_second(lambda name, log=log: _append(log, name), number))
            raw.append(await _a_second(lambda name: _publish(js, name), number))
            say(f"appends: {ours[-1]:.0f} a second, raw {raw[-1]:.0f}")
        await client.close()
    return [Row("log appends, 100 writers", "a second", ours, raw, "raw JetStream", least=0.7)]


def _settings() -> Settings:
    return Settings(_env_file=None)  # pyright: ignore[reportCallIssue]


async def _a_second(write: Callable[[SessionId], Awaitable[None]], run: int) -> float:
    async def writer(number: int) -> None:
        session = SessionId(f"writer{number}", f"run{run}")
        for _ in range(EACH):
            await write(session)

    began = time.perf_counter()
    await asyncio.gather(*(writer(number) for number in range(WRITERS)))
    return WRITERS * EACH / (time.perf_counter() - began)


def received(session: SessionId, wa_id: str) -> Received:
    """Make a message that came."""
    chat = "15557654321@c.us"
    return Received(
        wa_id=wa_id,
        key=f"false_{chat}_{wa_id}",
        chat=chat,
        sender=chat,
        type="chat",
        body="hello from a friend",
        at=utc_now(),
    )


def _sealed(session: SessionId, version: int = 1) -> codec.Envelope:
    event = received(session, "3EB0123456789ABCDEF012")
    return codec.seal(
        event, subject=session.dotted, source="bench", at=utc_now(), node="bench", version=version
    )


async def _append(log: JetStreamLog, session: SessionId) -> None:
    # As a session does: fenced by its family, with an end to how long it is kept.
    guard = Guard(subjects.session_family(session), 0)
    subject = subjects.message_event(session, "received")
    await log.append(subject, _sealed(session), guard, ttl=86_400)


async def _publish(js: JetStreamContext, session: SessionId) -> None:
    raw = codec.encode(_sealed(session))
    await js.publish(subjects.message_event(session, "received"), raw, stream=subjects.EVENTS)
