"""A node's side of NATS besides the log: inboxes, questions, live notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from weakref import WeakSet

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from pydantic import ValidationError

from actors.inbox import Asked, Delivered, Inbox, Pending
from events import codec, subjects
from events.asks import QUERIES, Query, Question
from events.clock import utc_now
from events.envelope import Envelope
from events.live import LiveNotice
from events.subjects import SessionId

log = structlog.get_logger()

ACK_WAIT = 30.0
STILL_AT_IT = 10.0
GIVE_UP = 90.0
"""An actor that says nothing for this long has died with the command in its mailbox."""

PULL = 10.0
"""Seconds an empty pull waits at the broker."""

QUERY_OF: dict[str, Query] = {query: query for query in QUERIES}
AWAY = (js_errors.Error, nats_errors.Error, OSError, TimeoutError)


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


class _Queue:
    """A consumer of the work queue: pulled from, and made anew after an outage."""

    def __init__(
        self,
        js: JetStreamContext,
        pull: JetStreamContext.PullSubscription,
        remake: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self.js = js
        self._pull, self._remake = pull, remake

    async def make_anew(self) -> None:
        """Forget what was delivered to a connection that is gone."""
        # It would come again when its ack is overdue, and what follows would overtake it.
        if self._remake is not None:
            await self._remake()

    async def next(self, outage: asyncio.Future[None]) -> Msg | None:
        """Wait for a command; None if there is none yet, or if the connection was lost."""
        asked = asyncio.ensure_future(self._ask())
        try:
            await asyncio.wait({asked, outage}, return_when=asyncio.FIRST_COMPLETED)
        finally:
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

    def gate(self, is_open: bool) -> None:
        """See Inbox.gate."""
        self._loop.call_soon_threadsafe(self._open.set if is_open else self._open.clear)

    def close(self) -> None:
        """See Inbox.close."""
        self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for subscription in self._subscriptions:
            unsubscribing = self._loop.create_task(_unsubscribe(subscription))
            self._tasks.append(unsubscribing)

    def renew(self) -> None:
        """Pull anew: a broker that was away knows nothing of pulls that waited. On the loop."""
        before, self._outage = self._outage, self._loop.create_future()
        before.set_result(None)

    def hear(self, subscription: Subscription) -> None:
        """Keep a subscription for as long as the inbox is open."""
        self._subscriptions.append(subscription)

    def feed(self, queue: _Queue, to: Callable[[Delivered], None], gated: bool) -> None:
        """Pull and hand over until closed."""
        self._tasks.append(self._loop.create_task(self._feed(queue, to, gated)))

    async def _feed(self, queue: _Queue, to: Callable[[Delivered], None], gated: bool) -> None:
        outage = self._outage
        while True:
            if gated:
                await self._open.wait()
            try:
                if outage.done():
                    renewed = self._outage
                    await queue.make_anew()
                    outage = renewed
                message = await queue.next(outage)
            except AWAY as error:
                log.debug("inbox.away", error=type(error).__name__)
                await asyncio.sleep(1)
                continue
            if message is None:
                continue
            try:
                await self._see_through(queue.js, message, to, gated)
            except AWAY as error:
                # Not acked, so it comes again; its outcome is on the log and is found there.
                log.info("inbox.ack_lost", error=type(error).__name__)

    async def _see_through(
        self, js: JetStreamContext, message: Msg, to: Callable[[Delivered], None], gated: bool
    ) -> None:
        """Hand one command over until it is settled; nothing overtakes it."""
        try:
            envelope = codec.decode(message.data)
        except codec.Undecodable as error:
            await _bury(js, message, str(error))
            return
        try:
            await self._settle(js, envelope, message, to, gated)
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
        gated: bool,
    ) -> None:
        while True:
            word, delay = await self._hand_over(envelope, message, to)
            if word == "done":
                await message.ack_sync(timeout=2)
                return
            if word != "later":
                await _bury(js, message, word.removeprefix("dead:"))
                return
            if not gated or not self._open.is_set():
                # What is given back comes first when the gate opens again.
                await message.nak(delay=None if gated else delay)
                return
            # Kept, not given back with a delay: the next send would overtake it.
            while delay > 0:
                await message.in_progress()
                await asyncio.sleep(min(delay, STILL_AT_IT))
                delay -= STILL_AT_IT

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


class NatsWire:
    """See Wire. All coroutines belong to one loop."""

    def __init__(self, client: Client, source: str) -> None:
        self._client, self._source = client, source
        self._js = client.jetstream()
        self._inboxes: WeakSet[NatsInbox] = WeakSet()

    def renew(self) -> None:
        """Pull anew everywhere, after the connection was lost. On the loop."""
        for inbox in list(self._inboxes):
            inbox.renew()

    async def open_inbox(
        self,
        session: SessionId,
        control: Callable[[Delivered], None],
        sends: Callable[[Delivered], None],
        asked: Callable[[Asked], None],
    ) -> Inbox:
        """See Wire.open_inbox."""
        inbox = self._inbox()
        name = f"{session.user}={session.bot}"
        orders = await self._consumer(f"session={name}", subjects.session_commands(session))
        outbox = await self._consumer(f"outbox={name}", subjects.send_command(session))

        async def on_ask(message: Msg) -> None:
            await self._asked(message, asked)

        inbox.hear(await self._client.subscribe(subjects.asks(session), cb=on_ask))
        inbox.feed(orders, control, gated=False)
        inbox.feed(outbox, sends, gated=True)
        return inbox

    async def open_creates(self, create: Callable[[Delivered], None]) -> Inbox:
        """See Wire.open_creates."""
        inbox = self._inbox()
        # Shared by all nodes, so it is never dropped and made anew.
        config = _config("creates", subjects.ALL_CREATES)
        await self._js.add_consumer(subjects.COMMANDS, config)
        pull = await self._js.pull_subscribe_bind(consumer="creates", stream=subjects.COMMANDS)
        inbox.feed(_Queue(self._js, pull, remake=None), create, gated=False)
        return inbox

    def _inbox(self) -> NatsInbox:
        inbox = NatsInbox(asyncio.get_running_loop())
        self._inboxes.add(inbox)
        return inbox

    async def _consumer(self, name: str, family: str) -> _Queue:
        async def remake() -> None:
            # Made anew, so that what an earlier owner had in hand comes again at once.
            with contextlib.suppress(js_errors.NotFoundError):
                await self._js.delete_consumer(subjects.COMMANDS, name)
            # One in hand at most: an owner that does not know yet that it lost the session
            # pulls here as well, and what it takes must not be overtaken.
            config = _config(name, family, in_hand=1)
            await self._js.add_consumer(subjects.COMMANDS, config)

        await remake()
        pull = await self._js.pull_subscribe_bind(consumer=name, stream=subjects.COMMANDS)
        return _Queue(self._js, pull, remake)

    async def _asked(self, message: Msg, asked: Callable[[Asked], None]) -> None:
        loop = asyncio.get_running_loop()

        def reply(answer: bytes) -> None:
            asyncio.run_coroutine_threadsafe(_respond(message, answer), loop)

        query = message.subject.rsplit(".", 1)[-1]
        known = QUERY_OF.get(query)
        if known is None:
            reply(codec.answer_error("unknown_query", f"there is no query {query[:40]!r}", 404))
            return
        try:
            question = Question.model_validate_json(message.data or b"{}")
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors())
            reply(codec.answer_error("bad_question", f"bad fields: {fields}", 400))
            return
        asked(Asked(known, question, reply))

    async def notice(self, session: SessionId, notice: LiveNotice) -> None:
        """See Wire.notice."""
        envelope = codec.seal(
            notice, subject=session.dotted, source=self._source, at=utc_now(), node=self._source
        )
        try:
            await self._client.publish(
                subjects.live(session, codec.kind_of(notice)), codec.encode(envelope)
            )
        except (nats_errors.Error, OSError) as error:
            log.debug("wire.notice_lost", kind=codec.kind_of(notice), error=type(error).__name__)

    async def waiting(self) -> dict[SessionId, int]:
        """See Wire.waiting."""
        found: dict[SessionId, int] = {}
        info = await self._js.stream_info(subjects.COMMANDS, subjects_filter=subjects.ALL_COMMANDS)
        for subject, count in (info.state.subjects or {}).items():
            parts = subject.split(".")
            if len(parts) == 6 and parts[2] in {"session", "outbox"}:
                try:
                    session = SessionId(parts[3], parts[4])
                except subjects.BadToken:
                    continue
                found[session] = found.get(session, 0) + count
        return found

    async def pending_sends(self, session: SessionId) -> list[Pending]:
        """See Wire.pending_sends."""
        return [p async for p in self._queued(subjects.send_command(session))]

    async def _queued(self, family: str):
        position = 1
        while True:
            try:
                held = await self._js.get_msg(
                    subjects.COMMANDS, seq=position, subject=family, next=True
                )
            except js_errors.NotFoundError:
                return
            if held.seq is None:
                return
            position = held.seq + 1
            try:
                yield Pending(held.seq, codec.decode(held.data or b""))
            except codec.Undecodable as error:
                log.warning("wire.undecodable_command", position=held.seq, error=str(error))

    async def discard(self, position: int) -> None:
        """See Wire.discard."""
        with contextlib.suppress(js_errors.NotFoundError):
            await self._js.delete_msg(subjects.COMMANDS, position)

    async def bury(self, session: SessionId, reason: str) -> list[str]:
        """See Wire.bury."""
        buried: list[str] = []
        for family in (subjects.session_commands(session), subjects.send_command(session)):
            async for pending in self._queued(family):
                await self._js.publish(
                    subjects.dead_commands(session),
                    codec.encode(pending.envelope),
                    headers={"Wa-Reason": reason, "Nats-Msg-Id": f"dead-{pending.envelope.id}"},
                )
                await self.discard(pending.position)
                buried.append(pending.envelope.id)
        return buried

    async def forget(self, session: SessionId) -> None:
        """See Wire.forget."""
        name = f"{session.user}={session.bot}"
        for consumer in (f"session={name}", f"outbox={name}"):
            with contextlib.suppress(js_errors.NotFoundError):
                await self._js.delete_consumer(subjects.COMMANDS, consumer)
        await self._js.purge_stream(subjects.COMMANDS, subject=subjects.session_commands(session))
        await self._js.purge_stream(subjects.COMMANDS, subject=subjects.send_command(session))
        await self._js.purge_stream(subjects.EVENTS, subject=subjects.message_family(session))


def _config(name: str, family: str, in_hand: int = 1_000) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=name,
        filter_subject=family,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=ACK_WAIT,
        max_ack_pending=in_hand,
    )


async def _bury(js: JetStreamContext, message: Msg, reason: str) -> None:
    await js.publish(
        subjects.dead_command(message.subject),
        message.data,
        headers={"Wa-Reason": reason[:200]},
    )
    await message.term()


async def _respond(message: Msg, answer: bytes) -> None:
    try:
        await message.respond(answer)
    except (nats_errors.Error, OSError) as error:
        log.debug("wire.answer_lost", error=type(error).__name__)


async def _unsubscribe(subscription: Subscription) -> None:
    with contextlib.suppress(nats_errors.Error, OSError):
        await subscription.unsubscribe()
