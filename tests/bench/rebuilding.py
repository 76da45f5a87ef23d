"""Rebuilding the read models: how long 100,000 events take, and how many a second that is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import nats

from events import codec, subjects
from events.clock import utc_now
from events.envelope import Envelope, Payload
from events.jetstream_log import JetStreamLog
from events.redis import connect
from events.session_events import Registered
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from projections.rebuild import GRACE, rebuild
from tests.bench.appends import received
from tests.bench.rows import Row, Say
from tests.services import nats_server, redis_server

EVENTS = 100_000
SESSIONS = 100
AT_ONCE = 200


async def measure(home: Path, runs: int, say: Say) -> list[Row]:
    """Fill a log once, and rebuild from it again and again."""
    took: list[float] = []
    with nats_server(home) as broker, redis_server(home) as store:
        settings = Settings(
            _env_file=None,  # pyright: ignore[reportCallIssue]
            redis_host="127.0.0.1",
            redis_port=store.port,
        )
        client = await nats.connect(broker.url)
        js = client.jetstream()
        await declare(js, settings)
        say(f"rebuild: writing {EVENTS:,} events")
        for some in _batches():
            await asyncio.gather(
                *(js.publish(subject, codec.encode(event)) for subject, event in some)
            )
        models = connect(settings)
        for _ in range(runs):
            began = time.perf_counter()
            count = await rebuild(JetStreamLog(js), models, settings, lambda _position, _tail: None)
            # The grace after the change-over is waiting for readers, and no work.
            took.append(time.perf_counter() - began - GRACE)
            assert count == EVENTS
            say(f"rebuild: {took[-1]:.1f} s")
        await models.aclose()
        await client.close()
    return [
        Row(f"rebuild of {EVENTS:,} events", "s", took, most=20),
        Row("events projected", "a second", [EVENTS / seconds for seconds in took]),
    ]


def _batches() -> Iterator[list[tuple[str, Envelope]]]:
    """Registered sessions, and then what they received, in turn."""
    sessions = [SessionId(f"user{number}", "bot") for number in range(SESSIONS)]
    yield [
        (
            subjects.session_event(session, "registered"),
            _sealed(session, Registered(user=session.user, bot=session.bot), 1),
        )
        for session in sessions
    ]
    some: list[tuple[str, Envelope]] = []
    for number in range(EVENTS - SESSIONS):
        session = sessions[number % SESSIONS]
        event = received(session, f"3EB0{number:018X}")
        subject = subjects.message_event(session, "received")
        some.append((subject, _sealed(session, event, number // SESSIONS + 1)))
        if len(some) == AT_ONCE:
            yield some
            some = []
    yield some


def _sealed(session: SessionId, event: Payload, version: int) -> Envelope:
    return codec.seal(
        event, subject=session.dotted, source="bench", at=utc_now(), node="bench", version=version
    )
