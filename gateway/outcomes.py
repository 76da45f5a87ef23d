"""What becomes of commands: one subscription a process, dealt out to whoever waits.

It listens on core NATS, where events pass as they are stored and notices as
they are told. That is quick and may lose something while the connection is
away: whoever waits must also look at the read models in the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg

from events import codec, subjects
from events.codec import AnyPayload
from events.envelope import Envelope
from events.pool import CreateRefused
from events.session import State
from events.subjects import SessionId

log = structlog.get_logger()

Found = TypeVar("Found")

REMEMBERED = 20_000
"""Sessions whose newest event is remembered."""

FRESH = 30.0
"""Seconds for which it is. What was missed while NATS was away must not haunt for longer."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Something said about a session."""

    session: SessionId
    family: str
    envelope: Envelope
    payload: AnyPayload


@dataclass(frozen=True, slots=True)
class Head:
    """The newest event seen of a session. `state` is None if the event alone does not tell."""

    version: int
    state: State | None
    at: datetime
    seen: float = 0.0


STATE_AFTER: dict[str, State] = {
    "registered": State.REGISTERED,
    "queued": State.QUEUED,
    "probing": State.QUEUED,
    "starting": State.STARTING,
    "pairing": State.PAIRING,
    "qr_refreshed": State.PAIRING,
    "authenticated": State.AUTHENTICATED,
    "ready": State.READY,
    "offline": State.OFFLINE,
    "crashed": State.BACKING_OFF,
    "backing_off": State.BACKING_OFF,
    "suspended": State.SUSPENDED,
    "parked": State.PARKED,
    "rested": State.RESTING,
    "blocked": State.BLOCKED,
    "logged_out": State.LOGGED_OUT,
    "stopped": State.STOPPED,
    "removed": State.REMOVED,
}


class Listener:
    """What was heard of one session since listening began."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()

    def put(self, heard: Heard) -> None:
        """Add what was heard."""
        self._heard.put_nowait(heard)

    async def until(self, wanted: Callable[[Heard], Found | None], seconds: float) -> Found | None:
        """Return the first answer of `wanted` that is not None; None if the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    found = wanted(await self._heard.get())
                    if found is not None:
                        return found
        return None


class Outcomes:
    """Deals out what is said on `wa.evt` and `wa.live`."""

    def __init__(self) -> None:
        self._listeners: dict[SessionId, set[Listener]] = {}
        self._heads: OrderedDict[SessionId, Head] = OrderedDict()
        self._joined: dict[str, SessionId] = {}
        self._watchers: list[Callable[[Heard], None]] = []
        self.heard = 0

    async def attach(self, client: Client) -> None:
        """Listen on a connection."""
        await client.subscribe(subjects.ALL_EVENTS, cb=self._receive)
        await client.subscribe(subjects.ALL_LIVE, cb=self._receive)

    @contextlib.contextmanager
    def listen(self, session: SessionId) -> Generator[Listener]:
        """Hear everything said about a session from now on."""
        listener = Listener()
        self._listeners.setdefault(session, set()).add(listener)
        try:
            yield listener
        finally:
            here = self._listeners[session]
            here.discard(listener)
            if not here:
                del self._listeners[session]

    def watch_notices(self, call: Callable[[Heard], None]) -> None:
        """Call with every notice that is told and not stored (QR codes among them)."""
        self._watchers.append(call)

    def head(self, session: SessionId) -> Head | None:
        """Return the newest event of a session, if one was seen lately."""
        head = self._heads.get(session)
        return head if head and time.monotonic() - head.seen < FRESH else None

    def by_joined(self, joined: str) -> SessionId | None:
        """Find the pair of an outside id among the sessions seen lately."""
        pair = self._joined.get(joined)
        return pair if pair is not None and self.head(pair) is not None else None

    async def _receive(self, message: Msg) -> None:
        try:
            self.receive(message.subject, message.data)
        except (codec.Undecodable, subjects.BadToken) as error:
            # A newer writer may say what this process does not know yet.
            log.debug("outcomes.undecodable", subject=message.subject, error=str(error))

    def receive(self, subject: str, raw: bytes) -> None:
        """Take in one message; raises Undecodable, BadToken."""
        self.heard += 1
        parts = subject.split(".")
        match parts:
            case ["wa", "evt", "pool", _, "create_refused"]:
                refused = codec.decode(raw)
                payload = codec.payload_of(refused)
                if isinstance(payload, CreateRefused):
                    whose = SessionId(payload.user, payload.bot)
                    self._deal(Heard(whose, "pool", refused, payload))
            case ["wa", "evt", "session", user, bot, _]:
                self._deal_event(SessionId(user, bot), raw)
            case ["wa", "evt", "message", user, bot, _]:
                session = SessionId(user, bot)
                if session in self._listeners:
                    envelope = codec.decode(raw)
                    self._deal(Heard(session, "message", envelope, codec.payload_of(envelope)))
            case ["wa", "live", user, bot, _]:
                envelope = codec.decode(raw)
                notice = Heard(SessionId(user, bot), "live", envelope, codec.payload_of(envelope))
                self._deal(notice)
                for watcher in self._watchers:
                    watcher(notice)
            case _:
                pass

    def _deal_event(self, session: SessionId, raw: bytes) -> None:
        envelope = codec.decode(raw)
        payload = codec.payload_of(envelope)
        self.note(session, envelope, payload.kind)
        self._deal(Heard(session, "session", envelope, payload))

    def note(self, session: SessionId, envelope: Envelope, kind: str) -> None:
        """Remember an event as the newest of its session, if it is."""
        was = self._heads.get(session)
        version = envelope.version or 0
        if was is not None and was.version >= version:
            return
        state = STATE_AFTER.get(kind) or (was.state if was and kind != "claimed" else None)
        self._heads[session] = Head(version, state, envelope.time, time.monotonic())
        self._heads.move_to_end(session)
        if state is State.REMOVED:
            self._joined.pop(session.joined, None)
        else:
            self._joined[session.joined] = session
        if len(self._heads) > REMEMBERED:
            forgotten, _ = self._heads.popitem(last=False)
            self._joined.pop(forgotten.joined, None)

    def _deal(self, heard: Heard) -> None:
        for listener in self._listeners.get(heard.session, ()):
            listener.put(heard)
