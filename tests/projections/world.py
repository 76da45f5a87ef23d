"""A writer of lawful session lives, what readers must then see, and ways to wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import nats
from nats.aio.client import Client

from events import codec, streams, subjects
from events import message as m
from events import session as rules
from events import session_events as e
from events.envelope import Payload
from events.jetstream_log import JetStreamLog
from events.log import Guard
from events.redis import Redis, connect
from events.session import Session, State
from events.session_events import Totals
from events.settings import Settings
from events.subjects import SessionId
from projections.cancelling import cancel
from projections.projector import Projector
from projections.qr import QrCodes
from projections.read import ReadModelsAway, RedisReadModels

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Author:
    """Writes one session's events, numbered and fenced as an owner does.

    What it expects of the models is told in words of its own, not with the
    code under test.
    """

    log: Any
    id: SessionId
    dice: random.Random = field(default_factory=lambda: random.Random(1))
    state: Session = field(default_factory=Session)
    tail: int = 0
    message_version: int = 0
    received: int = 0
    sent: int = 0
    failed: int = 0
    history: dict[str, tuple[str, int]] = field(default_factory=dict)
    minutes: int = 0

    async def session(self, event: Any) -> int:
        """Append a session event."""
        at = self._now()
        self.state = rules.evolve(self.state, event, at)
        self.tail = await self._append(
            subjects.session_event(self.id, event.kind), event, self.state.version, at
        )
        if isinstance(event, e.Registered | e.Removed):
            self.received = self.sent = self.failed = 0
            self.history.clear()
        return self.tail

    async def forge(self, event: Any, *, version: int) -> int:
        """Append a session event that no lawful owner would write."""
        subject = subjects.session_event(self.id, event.kind)
        self.tail = await self._append(subject, event, version, self._now())
        return self.tail

    async def message(self, event: Any, *, version: int | None = None) -> int:
        """Append a message event."""
        self.message_version = version or self.message_version + 1
        return await self._append(
            subjects.message_event(self.id, event.kind), event, self.message_version, self._now()
        )

    def totals(self) -> Totals:
        """State what must not shrink."""
        return Totals(
            received=self.received,
            sent=self.sent,
            failed=self.failed,
            reconnections=self.state.totals.reconnections,
            message_version=self.message_version,
        )

    async def live(self, phone: str = "491701234567") -> None:
        """Lead the session to READY."""
        await self.session(e.Registered(user=self.id.user, bot=self.id.bot))
        await self.session(e.Claimed(life="1", totals=self.totals()))
        await self.session(e.Queued(reason="create"))
        await self.session(e.Starting(attempt=1, deadline=START))
        await self.session(e.Pairing(attempt=1, expires=START))
        await self.session(e.Authenticated(deadline=START))
        await self.session(e.Ready(phone=phone, push_name="Ada"))

    async def send(self, message: str, *, until: int = 1, body: str = "hello") -> None:
        """Send one message and take receipts up to an ack."""
        wa_id = f"WA-{self.id.dotted}-{message}"
        await self.message(m.Sending(message=message, wa_id=wa_id, to="1@c.us", body=body))
        sent = m.Sent(message=message, wa_id=wa_id, key=f"k-{wa_id}", chat="1@lid", ack=1, at=START)
        await self.message(sent)
        self.sent += 1
        self.history[message] = ("sent", 1)
        for ack, receipt in ((2, m.Delivered), (3, m.Read), (4, m.Played)):
            if ack <= until:
                await self.message(receipt(wa_id=wa_id, chat="1@lid", message=message))
                self.history[message] = (receipt.kind, ack)

    async def receive(self, wa_id: str, body: str = "hi") -> None:
        """Receive one message."""
        received = m.Received(
            wa_id=wa_id, key=f"k-{wa_id}", chat="2@c.us", sender="2@c.us", body=body, at=START
        )
        await self.message(received)
        self.received += 1
        self.history[wa_id] = ("received", 0)

    async def fail(self, message: str) -> None:
        """Fail to send one message."""
        await self.message(m.Failed(message=message, to="1@c.us", reason="not_on_whatsapp"))
        self.failed += 1
        self.history[message] = ("failed", 0)

    async def wander(self, steps: int) -> None:
        """Live at random: lawful session events, messages, now and then a new life."""
        for step in range(steps):
            here = self.state.state
            if here in {State.NOTHING, State.REMOVED}:
                await self.live()
                continue
            if here is State.READY and self.dice.random() < 0.75:
                await self._some_message(f"{self.state.version}-{step}")
                continue
            await self.session(self._some_event())

    async def _some_message(self, name: str) -> None:
        match self.dice.randrange(4):
            case 0 | 1:
                await self.receive(f"in-{name}")
            case 2:
                await self.send(f"out-{name}", until=self.dice.randint(1, 4))
            case _:
                await self.fail(f"bad-{name}")

    def _some_event(self) -> Any:
        choices: list[Any] = [
            e.Claimed(life="x", totals=self.totals()),
            e.Queued(reason="restart"),
            e.Starting(attempt=1, deadline=START),
            e.LoadingSeen(percent=40, message="sync"),
            e.Pairing(attempt=1, expires=START),
            e.QrRefreshed(attempt=2, expires=START),
            e.Authenticated(deadline=START),
            e.Ready(phone="491701234567", push_name="Ada"),
            e.Offline(reason="TIMEOUT", deadline=START),
            e.Crashed(reason="page", detail="gone"),
            e.BackingOff(attempt=1, max_attempts=5, delay=1, until=START),
            e.Stopped(reason="command", totals=self.totals()),
            e.ProfileSaved(generation=1, bytes=10, totals=self.totals()),
        ]
        if self.dice.random() < 0.03:
            choices = [e.Removed()]
        lawful = [c for c in choices if self.state.state in rules.LEGAL[c.kind]]
        return self.dice.choice(lawful)

    def _now(self) -> datetime:
        self.minutes += 1
        return START + timedelta(minutes=self.minutes)

    async def _append(self, subject: str, event: Payload, version: int, at: datetime) -> int:
        sealed = codec.seal(
            event, subject=self.id.dotted, source="test", at=at, node="node-1", version=version
        )
        return await self.log.append(
            subject, sealed, Guard(subjects.session_family(self.id), self.tail)
        )


@dataclass
class World:
    """NATS with the streams, Redis, and a reader on both."""

    client: Client
    log: JetStreamLog
    redis: Redis
    settings: Settings
    read: RedisReadModels
    born: str = "first"

    def author(self, user: str = "ada", bot: str = "shop", seed: int = 1) -> Author:
        """Become the owner of a session."""
        return Author(self.log, SessionId(user, bot), random.Random(seed))

    def projector(self) -> Projector:
        """Make a projector; it is not running yet."""

        async def identity() -> str:
            return self.born

        return Projector(self.log, self.redis, self.settings, identity)

    @contextlib.asynccontextmanager
    async def projecting(self, number: int = 1) -> AsyncIterator[None]:
        """Run projectors for the length of a block."""
        tasks = [asyncio.create_task(self.projector().run()) for _ in range(number)]
        try:
            yield
        finally:
            faults = [task.exception() for task in tasks if task.done()]
            await cancel(*tasks)
            assert not faults, faults

    @contextlib.asynccontextmanager
    async def listening_for_codes(self) -> AsyncIterator[None]:
        """Write QR codes to Redis for the length of a block."""
        listening = asyncio.create_task(QrCodes(self.client, self.redis).run())
        await asyncio.sleep(0)
        await self.client.flush()  # The broker knows of the subscription.
        try:
            yield
        finally:
            await cancel(listening)

    async def caught_up(self, patience: float = 60) -> None:
        """Wait until both projections have applied all that the log holds now."""
        tail = await self.log.tail(subjects.ALL_EVENTS)

        async def there() -> bool:
            return all(each.position >= tail for each in await self.read.health())

        await eventually(there, patience)

    async def everything(self) -> dict[str, Any]:
        """Ask the read side for all it knows, field by field."""
        views = await self.read.sessions()
        return {
            view.session: {
                "session": view.model_dump(),
                "found": await self.read.by_joined(view.session),
                "history": [
                    each.model_dump()
                    for each in await self.read.history(SessionId(view.user, view.bot), 10_000)
                ],
            }
            for view in views
        }

    async def agrees_with(self, author: Author) -> None:
        """Check the models of one session against what its author did."""
        view = await self.read.session(author.id)
        if author.state.state in {State.NOTHING, State.REMOVED}:
            assert view is None
            assert await self.read.by_joined(author.id.joined) is None
            return
        assert view is not None
        assert (view.state, view.version) == (author.state.state, author.state.version)
        assert view.position == author.tail
        counted = (view.totals.received, view.totals.sent, view.totals.failed)
        assert counted == (author.received, author.sent, author.failed)
        held = await self.read.history(author.id, 10_000)
        told = [(each.message or each.wa_id, (each.status, each.ack)) for each in held]
        assert told == list(reversed(author.history.items()))


@contextlib.asynccontextmanager
async def world(
    nats_url: str | list[str], redis_at: str | int, **knobs: Any
) -> AsyncIterator[World]:
    """Connect to both and declare the streams; Redis is at a port, or a URL."""
    url = redis_at if isinstance(redis_at, str) else f"redis://127.0.0.1:{redis_at}"
    settings = Settings.model_validate({"redis_url": url, **knobs})
    client = await nats.connect(nats_url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    js = client.jetstream()
    await streams.declare(js, settings)
    log = JetStreamLog(js)
    redis = connect(settings)
    read = RedisReadModels(connect(settings), log)
    try:
        yield World(client, log, redis, settings, read)
    finally:
        await read.close()
        await redis.aclose()
        with contextlib.suppress(OSError):  # A test may have killed the broker.
            await client.close()


async def eventually(true: Callable[[], Awaitable[bool]], patience: float = 60) -> None:
    """Wait until something is true; what is away meanwhile is waited for."""
    async with asyncio.timeout(patience):
        while True:
            with contextlib.suppress(ReadModelsAway):
                if await true():
                    return
            await asyncio.sleep(0.02)
