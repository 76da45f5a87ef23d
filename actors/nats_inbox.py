"""Pulling commands out of the work queue, one at a time, each seen through until it is settled."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from nats import errors as nats_errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from actors.inbox import Delivered
from events import codec, subjects
from events.connection import AWAY
from events.envelope import Envelope

log = structlog.get_logger()

ACK_WAIT = 30.0
"""Seconds until the broker gives out anew what was not acked."""

STILL_AT_IT = 10.0
GIVE_UP = 90.0
"""An actor that says nothing for this long has died with the command in its mailbox."""

PULL = 60.0
"""Seconds an empty pull waits at the broker. What ends it before its time is told, or renews it."""

ACK = 2.0
"""Seconds that the broker has to confirm an ack."""

ACK_AGAIN = 0.1


class _Receipt:
    """Settles one JetStream message; the first word counts."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.word: asyncio.Future[tuple[str, float]] = loop.create_future()

    def done(self) -> None:
        self._say("done", 0)

    def later(self, delay: float) -> None:
        self._say("later", delay)

    def dead(self, reason: str) -> None:
        self._say(f"dead:{reason}", 0)

    def _say(self, word: str, delay: float) -> None:
        def settle() -> None:
            if not self.word.done():
                self.word.set_result((word, delay))

        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle)


class WorkQueue:
    """A consumer of the work queue: pulled from, and made anew after an outage."""

    def __init__(
        self,
        js: JetStreamContext,
        consumer: str,
        pull: JetStreamContext.PullSubscription,
        make: Callable[[], Awaitable[None]],
        remake: Callable[[], Awaitable[None]],
    ) -> None:
        """`make` makes the consumer where there is none; `remake` makes it anew in any case."""
        self.js, self.consumer = js, consumer
        self._pull, self._make, self._remake = pull, make, remake
        self._elected = asyncio.Event()

    def pull_again(self) -> None:
        """Forget the pull that waits: the server that knew of it does not lead any more."""
        self._elected.set()

    async def make_anew(self) -> None:
        """Forget what was delivered to a connection that is gone."""
        # It would come again when its ack is overdue, and what follows would overtake it.
        await self._remake()

    async def make(self) -> None:
        """Make sure that there is a consumer to pull from: somebody may have deleted it."""
        await self._make()

    async def close(self) -> None:
        """Pull nothing any more: a pull that waits at the broker ends with its subscription."""
        with contextlib.suppress(*AWAY, nats_errors.Error, ValueError):
            await self._pull.unsubscribe()

    async def next(self, outage: asyncio.Future[None]) -> Msg | None:
        """Wait for a command; None if there is none yet, or if the connection was lost."""
        self._elected.clear()
        asked = asyncio.ensure_future(self._ask())
        elected = asyncio.ensure_future(self._elected.wait())
        try:
            await asyncio.wait({asked, elected, outage}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            elected.cancel()
            # nats-py may lose a cancellation that comes together with the message.
            while not asked.done():
                asked.cancel()
                await asyncio.wait({asked}, timeout=0.2)
        answer = None if asked.cancelled() else asked.result()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _ask(self) -> Msg | Exception | None:
        """Pull once. An error is an answer: whoever asked may not be there any more."""
        try:
            [message] = await self._pull.fetch(1, timeout=PULL)
        except (nats_errors.TimeoutError, TimeoutError):
            return None
        except AWAY as error:
            return error
        return message


class NatsInbox:
    """Pull loops that feed an actor one command at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outage: asyncio.Future[None] = loop.create_future()
        self._open = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._subscriptions: list[Subscription] = []
        self._queues: list[WorkQueue] = []

    def gate(self, is_open: bool) -> None:
        """See Inbox.gate."""
        self._loop.call_soon_threadsafe(self._open.set if is_open else self._open.clear)

    def close(self) -> None:
        """See Inbox.close."""
        self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        ends = [_unsubscribe(subscription) for subscription in self._subscriptions]
        ends += [queue.close() for queue in self._queues]
        self._tasks += [self._loop.create_task(end) for end in ends]

    def renew(self) -> None:
        """Pull anew: a broker that was away knows nothing of pulls that waited. On the loop."""
        before, self._outage = self._outage, self._loop.create_future()
        before.set_result(None)

    def elected(self, consumer: str) -> None:
        """Pull anew from a consumer that has another leader. On the loop."""
        for queue in self._queues:
            if queue.consumer == consumer:
                queue.pull_again()

    def hear(self, subscription: Subscription) -> None:
        """Keep a subscription for as long as the inbox is open."""
        self._subscriptions.append(subscription)

    def feed(
        self,
        queue: WorkQueue,
        to: Callable[[Delivered], None],
        *,
        gated: bool,
        in_order: bool = False,
    ) -> None:
        """Pull and hand over until closed.

        `gated`: only while the gate is open. `in_order`: what is to come later is waited for.
        """
        self._queues.append(queue)
        self._tasks.append(self._loop.create_task(self._feed(queue, to, gated, in_order)))

    async def _feed(
        self, queue: WorkQueue, to: Callable[[Delivered], None], gated: bool, in_order: bool
    ) -> None:
        outage, failures = self._outage, 0
        while True:
            if gated:
                await self._open.wait()
            try:
                if outage.done():
                    renewed = self._outage
                    await queue.make_anew()
                    outage = renewed
                elif failures > 1:
                    await queue.make()
                message = await queue.next(outage)
            except AWAY as error:
                log.debug("inbox.away", error=type(error).__name__)
                failures += 1
                await asyncio.sleep(1)
                continue
            failures = 0
            if message is None:
                continue
            try:
                await self._see_through(queue.js, message, to, in_order)
            except AWAY as error:
                # Not acked, so it comes again; its outcome is on the log and is found there.
                log.info("inbox.ack_lost", error=type(error).__name__)

    async def _see_through(
        self, js: JetStreamContext, message: Msg, to: Callable[[Delivered], None], in_order: bool
    ) -> None:
        """Hand one command over until it is settled; nothing overtakes it."""
        try:
            envelope = codec.decode(message.data)
        except codec.Undecodable as error:
            await _bury(js, message, str(error))
            return
        try:
            await self._settle(js, envelope, message, to, in_order)
        except asyncio.CancelledError:
            # Closed with a command in hand: whoever owns the session now gets it at once.
            with contextlib.suppress(*AWAY):
                await message.nak()
            raise

    async def _settle(
        self,
        js: JetStreamContext,
        envelope: Envelope,
        message: Msg,
        to: Callable[[Delivered], None],
        in_order: bool,
    ) -> None:
        while True:
            word, delay = await self._hand_over(envelope, message, to)
            if word == "done":
                await self._ack(message)
                return
            if word != "later":
                await _bury(js, message, word.removeprefix("dead:"))
                return
            if not in_order or not self._open.is_set():
                # What is given back comes first when the gate opens again.
                await message.nak(delay=None if in_order else delay)
                return
            # Kept, not given back with a delay: the next send would overtake it.
            while delay > 0:
                await message.in_progress()
                await asyncio.sleep(min(delay, STILL_AT_IT))
                delay -= STILL_AT_IT

    async def _ack(self, message: Msg) -> None:
        """Ack until it is confirmed: a server that is lost takes an ack along."""
        outage, give_up = self._outage, self._loop.time() + ACK_WAIT
        while True:
            try:
                await message.ack_sync(timeout=ACK)
            except AWAY:
                # It comes again anyway, because of the outage or by the broker's own clock.
                if outage.done() or self._loop.time() > give_up:
                    raise
                await asyncio.sleep(ACK_AGAIN)
            else:
                return

    async def _hand_over(
        self, envelope: Envelope, message: Msg, to: Callable[[Delivered], None]
    ) -> tuple[str, float]:
        receipt = _Receipt(self._loop)
        to(Delivered(message.subject, envelope, receipt))
        for _ in range(int(GIVE_UP / STILL_AT_IT)):
            finished, _ = await asyncio.wait({receipt.word}, timeout=STILL_AT_IT)
            if finished:
                return receipt.word.result()
            await message.in_progress()
        return "later", 0.0


async def _bury(js: JetStreamContext, message: Msg, reason: str) -> None:
    # Under one id however often it is delivered: its place in the queue.
    place = message.metadata.sequence.stream
    await js.publish(
        subjects.dead_command(message.subject),
        message.data,
        headers={"Wa-Reason": reason[:200], "Nats-Msg-Id": f"buried-{place}"},
    )
    await message.term()


async def _unsubscribe(subscription: Subscription) -> None:
    with contextlib.suppress(nats_errors.Error, OSError):
        await subscription.unsubscribe()
