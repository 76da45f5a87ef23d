"""A node's side of NATS besides the log: inboxes, questions, live notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from weakref import WeakSet

import structlog
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from pydantic import ValidationError

from actors.inbox import Asked, Delivered, Inbox, Pending
from actors.nats_inbox import ACK_WAIT, NatsInbox, WorkQueue
from events import codec, subjects
from events.asks import QUERIES, Query, Question
from events.clock import utc_now
from events.envelope import Envelope
from events.live import LiveNotice
from events.session_events import SessionCommand
from events.subjects import SessionId

log = structlog.get_logger()

QUERY_OF: dict[str, Query] = {query: query for query in QUERIES}


class NatsWire:
    """See Wire. All coroutines belong to one loop."""

    def __init__(self, client: Client, source: str) -> None:
        self._client, self._source = client, source
        self._js = client.jetstream()
        self._inboxes: WeakSet[NatsInbox] = WeakSet()

    async def watch(self) -> None:
        """Hear of elections: a server that is lost takes along the pulls that waited there."""

        async def elected(message: Msg) -> None:
            for inbox in list(self._inboxes):
                inbox.elected(message.subject.rpartition(".")[2])

        await self._client.subscribe(subjects.elections(subjects.COMMANDS), cb=elected)

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
        inbox.feed(outbox, sends, gated=True, in_order=True)
        return inbox

    async def open_creates(self, create: Callable[[Delivered], None]) -> Inbox:
        """See Wire.open_creates."""
        inbox = self._inbox()

        # Shared by all nodes, so it is never dropped.
        async def make() -> None:
            config = _config("creates", subjects.ALL_CREATES)
            await self._js.add_consumer(subjects.COMMANDS, config)

        await make()
        pull = await self._js.pull_subscribe_bind(consumer="creates", stream=subjects.COMMANDS)
        # Open while the node has room; what one node leaves, another takes.
        inbox.feed(WorkQueue(self._js, "creates", pull, make, remake=make), create, gated=True)
        return inbox

    def _inbox(self) -> NatsInbox:
        inbox = NatsInbox(asyncio.get_running_loop())
        self._inboxes.add(inbox)
        return inbox

    async def _consumer(self, name: str, family: str) -> WorkQueue:
        async def make() -> None:
            # One in hand at most: an owner that does not know yet that it lost the session
            # pulls here as well, and what it takes must not be overtaken.
            # In the broker's memory, for what is made anew after each outage has nothing to
            # remember: on disk each ack was two more files to sync.
            config = replace(_config(name, family, in_hand=1), mem_storage=True)
            await self._js.add_consumer(subjects.COMMANDS, config)

        async def remake() -> None:
            # Made anew, so that what an earlier owner had in hand comes again at once.
            with contextlib.suppress(js_errors.NotFoundError):
                await self._js.delete_consumer(subjects.COMMANDS, name)
            await make()

        await remake()
        pull = await self._js.pull_subscribe_bind(consumer=name, stream=subjects.COMMANDS)
        return WorkQueue(self._js, name, pull, make, remake)

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

    async def open_node(self, node: str, drain: Callable[[Callable[[bytes], None]], None]) -> None:
        """See Wire.open_node."""
        loop = asyncio.get_running_loop()

        async def asked(message: Msg) -> None:
            def reply(answer: bytes) -> None:
                asyncio.run_coroutine_threadsafe(_respond(message, answer), loop)

            drain(reply)

        await self._client.subscribe(subjects.node_drain(node), cb=asked)

    async def forward(self, session: SessionId, command: SessionCommand, create: Envelope) -> None:
        """See Wire.forward."""
        envelope = codec.seal(
            command,
            subject=session.dotted,
            source=self._source,
            at=utc_now(),
            causation=create.id,
            event_id=create.id,
        )
        await self._js.publish(
            subjects.session_command(session, command.kind),
            codec.encode(envelope),
            stream=subjects.COMMANDS,
            # The create itself lies in the same stream under its id.
            headers={"Nats-Msg-Id": f"{command.kind}-{create.id}"},
        )

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

    async def place(self) -> int:
        """See Wire.place."""
        return (await self._js.stream_info(subjects.COMMANDS)).state.last_seq

    async def forget(self, session: SessionId, place: int, position: int) -> None:
        """See Wire.forget."""
        name = f"{session.user}={session.bot}"
        for consumer in (f"session={name}", f"outbox={name}"):
            with contextlib.suppress(js_errors.NotFoundError):
                await self._js.delete_consumer(subjects.COMMANDS, consumer)
        for family in (subjects.session_commands(session), subjects.send_command(session)):
            await self._js.purge_stream(subjects.COMMANDS, subject=family, seq=place + 1)
        messages = subjects.message_family(session)
        await self._js.purge_stream(subjects.EVENTS, subject=messages, seq=position + 1)


def _config(name: str, family: str, in_hand: int = 1_000) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=name,
        filter_subject=family,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=ACK_WAIT,
        max_ack_pending=in_hand,
    )


async def _respond(message: Msg, answer: bytes) -> None:
    try:
        await message.respond(answer)
    except (nats_errors.Error, OSError) as error:
        log.debug("wire.answer_lost", error=type(error).__name__)
