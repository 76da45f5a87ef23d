"""The log: append with a fence, read, follow. Everything true is in here.

One integer is lock and fencing token at once. Every event of a session is
guarded by the tail of its session family: a new owner's first append moves
that tail, and every later write of the old owner is refused by the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg

from events import codec, subjects
from events.connection import AWAY
from events.envelope import Envelope
from events.pull import Pull

log = structlog.get_logger()


class LogError(Exception):
    """The log could not do what was asked."""


class Conflict(LogError):
    """The guard's tail moved: somebody else wrote. For a session: another owner exists."""

    def __init__(self, subject: str, expected: int, found: int) -> None:
        super().__init__(f"{subject}: expected tail {expected}, found {found}")
        self.expected = expected
        self.found = found


class Unknown(LogError):
    """Whether the event is stored could not be learnt in time. Neither success nor failure."""


class LogAway(LogError):
    """The broker cannot be reached, or answers that it cannot serve now."""


class Hole(LogError):
    """A reader missed something on the wire and must start again from its position."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Append only if the last event matching `family` has this stream sequence (0: none)."""

    family: str
    tail: int


@dataclass(frozen=True, slots=True)
class Stored:
    """An event with its place: `position` is its sequence in the stream."""

    position: int
    subject: str
    stored_at: datetime
    raw: bytes

    @property
    def envelope(self) -> Envelope:
        """The wrapper; raises codec.Undecodable."""
        return codec.decode(self.raw)


class Log(Protocol):
    """What the service needs of its log. Both versions pass the same contract tests."""

    async def append(
        self, subject: str, event: Envelope, guard: Guard, ttl: float | None = None
    ) -> int:
        """Store an event once and return its position.

        `ttl` is in seconds. Raises Conflict (the guard moved) or Unknown (the
        outcome could not be learnt within half the duplicate window; asking
        later would store it twice).
        """
        ...

    async def tail(self, family: str) -> int:
        """Return the position of the last event that matches, 0 for none. Raises LogAway."""
        ...

    async def last(self, family: str) -> Envelope | None:
        """Return the last event that matches, or None. Raises LogAway, codec.Undecodable."""
        ...

    def read(
        self, filters: Sequence[str], start: int = 1, since: datetime | None = None
    ) -> AsyncIterator[Stored]:
        """Read what matches up to now, from a position or a time. Raises LogAway, Hole."""
        ...

    def follow(self, filters: Sequence[str], start: int) -> AsyncIterator[Stored | None]:
        """Read from a position and go on for ever; None marks each moment of having caught up.

        Raises Hole or LogAway when the stream of events is cut: start again
        from the last position. With a `start` beyond the end nothing comes until the
        log gets there: who follows a log that may be another one has to look at its tail.
        """
        ...


WRONG_LAST_SEQUENCE = 10071
IN_PROCESS = frozenset({10158, 10164})
"""R3 under concurrency: the same id or guard is being decided; wait and ask again."""

BATCH = 500
IDLE = 5.0
"""Seconds after which a reader that nothing comes to asks whether the broker still knows it."""

Back = Callable[[], asyncio.Event]
"""Gives what is set the next time that the connection was lost and is there again."""

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
            head = await self._js.get_last_msg(self._stream, subject, direct=False)
            if codec.decode(head.data or b"").id == event_id:
                return head.seq or 0
        except js_errors.NotFoundError:
            pass  # The subject is empty, so nothing of ours landed on it.
        except AWAY:
            return None
        try:
            found = await self.tail(guard.family)
        except LogAway:
            return None
        if found != guard.tail:
            raise Conflict(subject, guard.tail, found)
        return None

    async def tail(self, family: str) -> int:
        """See Log.tail."""
        head = await self._last(family)
        return 0 if head is None else head.seq or 0

    async def last(self, family: str) -> Envelope | None:
        """See Log.last."""
        head = await self._last(family)
        return None if head is None else codec.decode(head.data or b"")

    async def _last(self, family: str) -> RawStreamMsg | None:
        try:
            # Not a direct get: a follower of a cluster may answer those with old news.
            return await self._js.get_last_msg(self._stream, family, direct=False)
        except js_errors.NotFoundError:
            return None
        except AWAY as error:
            raise LogAway(str(error) or type(error).__name__) from error

    async def read(
        self, filters: Sequence[str], start: int = 1, since: datetime | None = None
    ) -> AsyncIterator[Stored]:
        """See Log.read."""
        async with self._reader(filters, start, since) as reader:
            while not reader.caught_up:
                batch = await reader.next(wait=2.0, idle_is_fine=not reader.pending)
                for stored in batch:
                    yield stored
                if not batch:
                    await self._still_behind(reader, filters, since)

    async def follow(self, filters: Sequence[str], start: int) -> AsyncIterator[Stored | None]:
        """See Log.follow."""
        async with self._reader(filters, start, None) as reader:
            if reader.caught_up:
                yield None
            while True:
                was_behind = not reader.caught_up
                batch = await reader.next(wait=IDLE, idle_is_fine=True)
                for stored in batch:
                    yield stored
                if not batch and was_behind:
                    await self._still_behind(reader, filters, None)
                if reader.caught_up and (batch or was_behind):
                    yield None

    @contextlib.asynccontextmanager
    async def _reader(
        self, filters: Sequence[str], start: int, since: datetime | None
    ) -> AsyncGenerator[_Reader]:
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_TIME
            if since
            else DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=None if since else max(1, start),
            opt_start_time=since,
            filter_subjects=list(filters),
            inactive_threshold=30,
            mem_storage=True,
            num_replicas=1,
        )
        # From before the consumer is made: a broker that restarts afterwards forgets it.
        back = self._back() if self._back is not None else asyncio.Event()
        try:
            created = await self._js.add_consumer(self._stream, config)
            pull = Pull(self._js, self._stream, created.name, BATCH)
            await pull.open()
        except AWAY as error:
            raise LogAway(str(error) or type(error).__name__) from error
        reader = _Reader(self._js, self._stream, created.name, pull, back=back)
        reader.pending = created.num_pending or 0
        cut = asyncio.create_task(reader.until_cut())
        try:
            # The reader's server counts what it holds itself, and may be behind the others.
            if created.cluster is not None:
                reader.end = await self._end(filters, since)
                reader.position = start - 1
            yield reader
        finally:
            cut.cancel()
            await pull.close()
            # Best effort: the broker drops an idle reader by itself.
            with contextlib.suppress(*AWAY):
                await self._js.delete_consumer(self._stream, created.name)

    async def _end(self, filters: Sequence[str], since: datetime | None) -> int:
        """Ask the leader for the last position that matches. Raises LogAway."""
        heads = await asyncio.gather(*(self._last(family) for family in filters))
        return max(
            (
                head.seq or 0
                for head in heads
                if head is not None and (since is None or head.time is None or head.time >= since)
            ),
            default=0,
        )

    async def _still_behind(
        self, reader: _Reader, filters: Sequence[str], since: datetime | None
    ) -> None:
        """Believe that nothing comes only if what was last is gone. Raises Hole, LogAway."""
        reader.end = await self._end(filters, since)
        if not reader.caught_up:
            raise Hole(f"the server that is read from has not got to position {reader.end}")


class _Reader:
    """An AckNone consumer that notices a hole by the consumer's own numbering."""

    def __init__(
        self,
        js: JetStreamContext,
        stream: str,
        name: str,
        pull: Pull,
        *,
        back: asyncio.Event,
    ) -> None:
        self._js, self._stream, self._name, self._pull = js, stream, name, pull
        self._back = back
        self.pending = 0
        self.position = 0
        self.end = 0
        self._expected = 1

    @property
    def caught_up(self) -> bool:
        """Whether everything up to `end` was read, and all that its server has."""
        return not self.pending and self.position >= self.end

    async def until_cut(self) -> None:
        """End a wait as soon as the connection was lost and is there again."""
        await self._back.wait()
        self._pull.wake()

    async def next(self, wait: float, idle_is_fine: bool = False) -> list[Stored]:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + wait
        while True:
            # A broker that was away has forgotten what was asked of it, and answers nothing.
            if self._back.is_set():
                raise Hole("the connection was lost and is there again")
            left = give_up - loop.time()
            if left <= 0:
                if not idle_is_fine:
                    raise Hole("the broker had more to tell and did not")
                await self._still_there()
                self._pull.forget()
                return []
            try:
                messages = await self._pull.next(left)
            except js_errors.ServiceUnavailableError as error:
                # Nobody listens: a reader just made on a cluster is announced a
                # moment before the server that serves it is ready to.
                if loop.time() + 0.05 > give_up:
                    raise LogAway(str(error)) from error
                await asyncio.sleep(0.05)
            except AWAY as error:
                raise LogAway(str(error) or type(error).__name__) from error
            else:
                if messages:
                    return [self._stored(message) for message in messages]

    async def _still_there(self) -> None:
        # A consumer that the broker lost (a restart: it lives in memory) is silent for ever.
        try:
            held = await self._js.consumer_info(self._stream, self._name)
        except js_errors.NotFoundError:
            raise Hole("the reader is gone from the broker") from None
        except AWAY as error:
            raise LogAway(str(error) or type(error).__name__) from error
        delivered = held.delivered.consumer_seq if held.delivered else 0
        if delivered >= self._expected and not self._pull.holds:
            raise Hole("events were sent and never arrived")

    def _stored(self, message: Msg) -> Stored:
        meta = message.metadata
        if meta.sequence.consumer != self._expected:
            raise Hole(f"expected delivery {self._expected}, got {meta.sequence.consumer}")
        self._expected += 1
        self.pending = meta.num_pending
        self.position = meta.sequence.stream
        return Stored(
            position=meta.sequence.stream,
            subject=message.subject,
            stored_at=meta.timestamp,
            raw=message.data,
        )


def _headers(event_id: str, guard: Guard, ttl: float | None) -> dict[str, str]:
    headers = {
        "Nats-Msg-Id": event_id,
        GUARD_SEQUENCE: str(guard.tail),
        GUARD_SUBJECT: guard.family,
    }
    if ttl is not None:
        headers["Nats-TTL"] = f"{max(1, round(ttl))}s"
    return headers
