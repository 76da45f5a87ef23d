"""Events of the log as endpoints want them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from nats.js import errors as js_errors

from events import subjects
from events.clock import utc_now
from events.connection import AWAY
from events.log import LogAway, Stored
from events.subjects import SessionId
from gateway import frames
from gateway.broker import Broker, BrokerAway, BrokerLog
from gateway.frames import Told
from gateway.webhooks.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Due:
    """An event, ready to be posted under the name that was asked for: the same bytes each time."""

    told: Told
    session: str
    name: str
    body: bytes
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """An event that was read, and the session in whose lane it waits; None: nobody asked for it."""

    position: int
    session: SessionId | None


class Past:
    """Reads the log for one endpoint."""

    def __init__(self, broker: Broker, endpoint: Endpoint) -> None:
        self._broker = broker
        self._log = BrokerLog(broker)
        self._endpoint = endpoint
        user = endpoint.user
        whose = ">" if user is None else f"{user}.>"
        self._all = (f"wa.evt.session.{whose}", f"wa.evt.message.{whose}")

    async def end(self) -> int:
        """Return the last position that the log ever gave away; raises LogAway."""
        # Not the tail: what expires or is deleted moves that one backwards.
        try:
            held = await self._broker.jetstream.stream_info(subjects.EVENTS)
        except (BrokerAway, *AWAY) as error:
            raise LogAway(type(error).__name__) from error
        return held.state.last_seq

    async def follow(self, after: int) -> AsyncGenerator[Seen]:
        """Give what comes after a position, for ever; raises LogAway and Hole."""
        following = self._log.follow(self._all, after + 1)
        async with aclosing(following) as events:
            async for stored in events:
                if stored is not None:
                    yield self._seen(stored)

    async def behind(self, session: SessionId, first: int, until: int) -> AsyncGenerator[int]:
        """Give the positions that wait behind one of a session; raises LogAway and Hole."""
        family = (subjects.session_family(session), subjects.message_family(session))
        reading = self._log.read(family, first + 1)
        async with aclosing(reading) as events:
            async for stored in events:
                if stored.position > until:
                    return
                if self._seen(stored).session is not None:
                    yield stored.position

    async def at(self, position: int) -> Due | None:
        """Read one event again; None if it is gone from the log. Raises BrokerAway."""
        try:
            raw = await self._broker.jetstream.get_msg(subjects.EVENTS, seq=position)
        except js_errors.NotFoundError:
            return None
        except AWAY as error:
            raise BrokerAway from error
        stored = Stored(position, raw.subject or "", raw.time or utc_now(), raw.data or b"")
        told = frames.decoded(stored)
        frame = None if told is None else frames.of_event(told)
        name = None if frame is None else self._endpoint.face(frame)
        written = None if frame is None or name is None else frame.under(frozenset({name}))
        if told is None or frame is None or written is None:
            # Since it came to wait, the endpoint was changed to want something else.
            return None
        return Due(told, frame.session, written[0], written[1].encode(), stored.stored_at)

    async def until_there(self) -> None:
        """Wait for NATS."""
        await self._broker.until_connected()
        await asyncio.sleep(0.2)

    def _seen(self, stored: Stored) -> Seen:
        told = frames.decoded(stored)
        frame = None if told is None else frames.of_event(told)
        wanted = frame is not None and self._endpoint.face(frame) is not None
        return Seen(stored.position, told.session if told is not None and wanted else None)
