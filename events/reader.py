"""A reader of the log: a consumer that lives as long as somebody reads, and notices a hole.

It acknowledges nothing, so it notices by the consumer's own numbering, and by what the
leader says was last, whether everything came that there is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RawStreamMsg

from events.connection import AWAY
from events.log import Hole, LogAway, Stored
from events.pull import Pull

BATCH = 500

Back = Callable[[], asyncio.Event]
"""Gives what is set the next time that the connection was lost and is there again."""


@dataclass(frozen=True, slots=True)
class Range:
    """What is read: the subjects that match, from a position, or from a time if there is one."""

    filters: Sequence[str]
    start: int = 1
    since: datetime | None = None


async def last_of(js: JetStreamContext, stream: str, family: str) -> RawStreamMsg | None:
    """Ask the leader for the last message that matches. Raises LogAway."""
    try:
        # Not a direct get: a follower of a cluster may answer those with old news.
        return await js.get_last_msg(stream, family, direct=False)
    except js_errors.NotFoundError:
        return None
    except AWAY as error:
        raise LogAway(str(error) or type(error).__name__) from error


@contextlib.asynccontextmanager
async def reading(
    js: JetStreamContext, stream: str, what: Range, back: Back | None
) -> AsyncGenerator[Reader]:
    """Have a reader for as long as it is needed. Raises LogAway."""
    config = ConsumerConfig(
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.BY_START_TIME
        if what.since
        else DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=None if what.since else max(1, what.start),
        opt_start_time=what.since,
        filter_subjects=list(what.filters),
        inactive_threshold=30,
        mem_storage=True,
        num_replicas=1,
    )
    # From before the consumer is made: a broker that restarts afterwards forgets it.
    returned = back() if back is not None else asyncio.Event()
    try:
        created = await js.add_consumer(stream, config)
        pull = Pull(js, stream, created.name, BATCH)
        await pull.open()
    except AWAY as error:
        raise LogAway(str(error) or type(error).__name__) from error
    reader = Reader(js, stream, created.name, pull, what=what, back=returned)
    reader.pending = created.num_pending or 0
    cut = asyncio.create_task(reader.until_cut())
    try:
        # The reader's server counts what it holds itself, and may be behind the others.
        if created.cluster is not None:
            await reader.measure()
            reader.position = what.start - 1
        yield reader
    finally:
        cut.cancel()
        await pull.close()
        # Best effort: the broker drops an idle reader by itself.
        with contextlib.suppress(*AWAY):
            await js.delete_consumer(stream, created.name)


class Reader:
    """Reads what there is, batch after batch."""

    def __init__(
        self,
        js: JetStreamContext,
        stream: str,
        name: str,
        pull: Pull,
        *,
        what: Range,
        back: asyncio.Event,
    ) -> None:
        self._js, self._stream, self._name, self._pull = js, stream, name, pull
        self._what, self._back = what, back
        self.pending = 0
        self.position = 0
        self._end = 0
        self._expected = 1

    @property
    def caught_up(self) -> bool:
        """Whether everything up to the end was read, and all that its server has."""
        return not self.pending and self.position >= self._end

    async def measure(self) -> None:
        """Learn from the leader where the end is. Raises LogAway."""
        since = self._what.since
        heads = await asyncio.gather(
            *(last_of(self._js, self._stream, family) for family in self._what.filters)
        )
        self._end = max(
            (
                head.seq or 0
                for head in heads
                if head is not None and (since is None or head.time is None or head.time >= since)
            ),
            default=0,
        )

    async def accept_silence(self) -> None:
        """Take it that nothing comes only if what was last is gone. Raises Hole, LogAway."""
        await self.measure()
        if not self.caught_up:
            raise Hole(f"the server that is read from has not got to position {self._end}")

    async def until_cut(self) -> None:
        """End a wait as soon as the connection was lost and is there again."""
        await self._back.wait()
        self._pull.wake()

    async def next(self, wait: float, idle_is_fine: bool = False) -> list[Stored]:
        """Return what comes within `wait` seconds; nothing came only if that is fine.

        Raises Hole when the broker had more to tell, or forgot the reader; LogAway.
        """
        if self.pending:
            await self._pull.turn()
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
