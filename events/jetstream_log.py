"""The log on JetStream: a publish that the broker refuses when its fence is old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime

import structlog
from nats.js import JetStreamContext
from nats.js import errors as js_errors

from events import codec, subjects
from events.connection import AWAY
from events.envelope import Envelope
from events.log import Conflict, Guard, LogAway, LogError, Stored, Unknown
from events.reader import Back, Range, Reader, last_of, reading

log = structlog.get_logger()

WRONG_LAST_SEQUENCE = 10071
IN_PROCESS = frozenset({10158, 10164})
"""R3 under concurrency: the same id or guard is being decided; wait and ask again."""

IDLE = 5.0
"""Seconds after which a reader that nothing comes to asks whether the broker still knows it."""

GUARD_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
GUARD_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"


class JetStreamLog:
    """The log on JetStream."""

    def __init__(
        self,
        js: JetStreamContext,
        *,
        dedupe_window: float = 120,
        publish_timeout: float = 2,
        stream: str = subjects.EVENTS,
        back: Back | None = None,
    ) -> None:
        """With `back` a reader is cut as soon as the connection is there again."""
        self._js = js
        self._patience = dedupe_window / 2
        self._publish_timeout = publish_timeout
        self._stream = stream
        self._back = back

    async def append(
        self, subject: str, event: Envelope, guard: Guard, ttl: float | None = None
    ) -> int:
        """See Log.append."""
        raw = codec.encode(event)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience
        pause = 0.01
        while True:
            try:
                ack = await self._js.publish(
                    subject,
                    raw,
                    timeout=self._publish_timeout,
                    stream=self._stream,
                    # Made anew for each try: publish() writes into the dict it is given.
                    headers=_headers(event.id, guard, ttl),
                )
            except js_errors.APIError as error:
                if error.err_code == WRONG_LAST_SEQUENCE:
                    landed = await self._landed(subject, event.id, guard)
                    if landed is not None:
                        return landed
                elif error.err_code not in IN_PROCESS and error.code != 503:
                    raise LogError(f"{subject}: {error.description}") from error
            except AWAY as error:
                # It may still land. The same id asked again tells, until the window ends.
                log.debug("log.append_unknown", subject=subject, error=type(error).__name__)
            else:
                return ack.seq
            if loop.time() + pause > give_up:
                raise Unknown(f"{subject}: no answer within {self._patience:.0f} s")
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _landed(self, subject: str, event_id: str, guard: Guard) -> int | None:
        """Tell what a refused sequence means: our own retry, a conflict, or (None) ask again."""
        # A standalone server checks the sequence before the id, so our own retry
        # looks like a conflict. If the head is ours, the first attempt landed.
        try:
            head = await last_of(self._js, self._stream, subject)
            if head is not None and codec.decode(head.data or b"").id == event_id:
                return head.seq or 0
            found = await self.tail(guard.family)
        except LogAway:
            return None
        if found != guard.tail:
            raise Conflict(subject, guard.tail, found)
        return None

    async def tail(self, family: str) -> int:
        """See Log.tail."""
        head = await last_of(self._js, self._stream, family)
        return 0 if head is None else head.seq or 0

    async def last(self, family: str) -> Envelope | None:
        """See Log.last."""
        head = await last_of(self._js, self._stream, family)
        return None if head is None else codec.decode(head.data or b"")

    async def read(
        self, filters: Sequence[str], start: int = 1, since: datetime | None = None
    ) -> AsyncIterator[Stored]:
        """See Log.read."""
        async with self._reader(Range(filters, start, since)) as reader:
            while not reader.caught_up:
                batch = await reader.next(wait=2.0, idle_is_fine=not reader.pending)
                for stored in batch:
                    yield stored
                if not batch:
                    await reader.accept_silence()

    async def follow(self, filters: Sequence[str], start: int) -> AsyncIterator[Stored | None]:
        """See Log.follow."""
        async with self._reader(Range(filters, start)) as reader:
            if reader.caught_up:
                yield None
            while True:
                was_behind = not reader.caught_up
                batch = await reader.next(wait=IDLE, idle_is_fine=True)
                for stored in batch:
                    yield stored
                if not batch and was_behind:
                    await reader.accept_silence()
                if reader.caught_up and (batch or was_behind):
                    yield None

    def _reader(self, what: Range) -> AbstractAsyncContextManager[Reader]:
        return reading(self._js, self._stream, what, self._back)


def _headers(event_id: str, guard: Guard, ttl: float | None) -> dict[str, str]:
    headers = {
        "Nats-Msg-Id": event_id,
        GUARD_SEQUENCE: str(guard.tail),
        GUARD_SUBJECT: guard.family,
    }
    if ttl is not None:
        headers["Nats-TTL"] = f"{max(1, round(ttl))}s"
    return headers
