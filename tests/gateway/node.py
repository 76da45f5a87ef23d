"""A node in miniature: takes commands from the queue and writes what it was told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NatsTimeout

from events import codec, live, message, session_events, subjects
from events.asks import Query, Question
from events.clock import utc_now
from events.envelope import Envelope, new_id
from events.jetstream_log import JetStreamLog
from events.log import Guard
from events.message import MessageEvent, Send, Sending, Sent
from events.pool import Create
from events.session_events import SessionEvent
from events.subjects import SessionId
from tests.gateway.reads import FakeReads

IN_A_MINUTE = timedelta(seconds=60)
NUMBER = "491709999999"
PHONE = f"{NUMBER}@c.us"

Refusing = Callable[[SessionId], live.Refused | None]


class ScriptedNode:
    """Answers creates with a QR code and sends with `sent`, unless told otherwise."""

    def __init__(self, client: Client, reads: FakeReads) -> None:
        self.client = client
        self.reads = reads
        self.log = JetStreamLog(client.jetstream())
        self.commands: list[tuple[SessionId, object]] = []
        self.sends: Counter[str] = Counter()
        self.refuse: live.Refused | None = None
        self.shows_codes = True
        self.mute = False
        self.intends = False
        self.outcome: Callable[[Send], MessageEvent | None] = sent
        self._versions: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        sub = await self.client.jetstream().pull_subscribe(
            subjects.ALL_COMMANDS, durable="node", stream=subjects.COMMANDS
        )

        async def work() -> None:
            while True:
                with contextlib.suppress(NatsTimeout):
                    for command in await sub.fetch(1, timeout=5):
                        await command.ack()
                        await self._obey(command)

        self._task = asyncio.create_task(work())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    # --- writing ----------------------------------------------------------------

    async def event(
        self, session: SessionId, *events: SessionEvent, cause: str | None = None
    ) -> int:
        """Append session events; the read models follow."""
        position = 0
        for event in events:
            self._versions[session.dotted] += 1
            version = self._versions[session.dotted]
            sealed = _seal(session, event, cause, version)
            family = subjects.session_family(session)
            guard = Guard(family, await self.log.tail(family))
            subject = subjects.session_event(session, event.kind)
            position = await self.log.append(subject, sealed, guard)
            self.reads.apply(session, event, sealed, position)
        return position

    async def message(
        self, session: SessionId, event: MessageEvent, cause: str | None = None
    ) -> int:
        """Append a message event; the read models follow."""
        self._versions[f"m:{session.dotted}"] += 1
        sealed = _seal(session, event, cause, self._versions[f"m:{session.dotted}"])
        family = subjects.session_family(session)
        guard = Guard(family, await self.log.tail(family))
        subject = subjects.message_event(session, event.kind)
        position = await self.log.append(subject, sealed, guard)
        self.reads.apply_message(session, event, sealed.time, position)
        return position

    async def pour(self, session: SessionId, bodies: Iterable[str]) -> None:
        """Store incoming messages as fast as the broker takes them, past fence and read models."""
        subject = subjects.message_event(session, message.Received.kind)
        for number, body in enumerate(bodies, 1):
            sealed = _seal(session, received(body), None, number)
            await self.client.publish(subject, codec.encode(sealed))
            if number % 100 == 0:
                await self.client.flush()
        await self.client.flush()

    async def notice(self, session: SessionId, notice: live.LiveNotice) -> None:
        sealed = _seal(session, notice, None, None)
        if isinstance(notice, live.Qr):
            self.reads.show_code(session, notice)
        await self.client.publish(subjects.live(session, notice.kind), codec.encode(sealed))

    async def owner(self, session: SessionId, query: Query, answer: bytes) -> list[Question]:
        """Answer a question about a session from now on; returns what will be asked."""
        asked: list[Question] = []

        async def reply(message: Msg) -> None:
            asked.append(Question.model_validate_json(message.data))
            await message.respond(answer)

        await self.client.subscribe(subjects.ask(session, query), cb=reply)
        await self.client.flush()
        return asked

    # --- shortcuts --------------------------------------------------------------

    async def registered(self, session: SessionId, cause: str | None = None) -> None:
        await self.event(
            session,
            session_events.Registered(user=session.user, bot=session.bot),
            session_events.Queued(reason="create"),
            cause=cause,
        )

    async def starting(self, session: SessionId) -> None:
        await self.event(
            session, session_events.Starting(attempt=1, deadline=utc_now() + IN_A_MINUTE)
        )

    async def pairing(self, session: SessionId, code: str | None = "2@code-1") -> None:
        """Have it wait for a scan; without a code it is told to nobody."""
        expires = utc_now() + IN_A_MINUTE
        await self.event(session, session_events.Pairing(attempt=1, expires=expires))
        if code is not None:
            await self.notice(session, live.Qr(code=code, attempt=1, expires=expires))

    async def ready(self, session: SessionId) -> None:
        """Bring a session from nothing to ready."""
        if session not in self.reads.views:
            await self.registered(session)
            await self.starting(session)
        await self.event(
            session,
            session_events.Authenticated(deadline=utc_now() + IN_A_MINUTE),
            session_events.Ready(phone=PHONE),
        )

    async def suspended(self, session: SessionId) -> None:
        """Bring a session from nothing to ready, and let it fail until its breaker opens."""
        await self.ready(session)
        until = utc_now() + IN_A_MINUTE
        for attempt in range(1, 7):
            await self.event(session, session_events.Crashed(reason="page_gone", detail=""))
            if attempt == 6:
                suspended = session_events.Suspended(failures=attempt, until=until)
                await self.event(session, suspended)
                return
            plan = session_events.BackingOff(attempt=attempt, max_attempts=5, delay=1, until=until)
            await self.event(session, plan, session_events.Queued(reason="backoff_elapsed"))
            await self.starting(session)

    # --- obeying ----------------------------------------------------------------

    async def _obey(self, raw: Msg) -> None:
        envelope = codec.decode(raw.data)
        command = codec.payload_of(envelope)
        session = SessionId.parse(envelope.subject)
        self.commands.append((session, command))
        if self.mute:
            return
        if self.refuse is not None:
            told = self.refuse.model_copy(update={"command": envelope.id})
            await self.notice(session, told)
            return
        match command:
            case Create():
                await self._create(session, command, envelope)
            case Send():
                self.sends[command.message] += 1
                if self.intends:
                    wa_id = f"3EB0{new_id()[:16].upper()}"
                    intent = Sending(
                        message=command.message, wa_id=wa_id, to=command.to, body=command.body
                    )
                    await self.message(session, intent, cause=envelope.id)
                outcome = self.outcome(command)
                if outcome is not None:
                    await self.message(session, outcome, cause=envelope.id)
            case session_events.RefreshQr():
                await self._settled(session, envelope)
                expires = utc_now() + IN_A_MINUTE
                await self.event(session, session_events.QrRefreshed(attempt=2, expires=expires))
                await self.notice(session, live.Qr(code="2@code-2", attempt=2, expires=expires))
            case session_events.Stop():
                await self.event(session, session_events.Stopped(reason="command"))
                await self._settled(session, envelope)
            case session_events.Logout():
                logged_out = session_events.LoggedOut(reason="command")
                await self.event(session, logged_out, cause=envelope.id)
            case session_events.Delete():
                await self.event(session, session_events.Removed(), cause=envelope.id)
            case session_events.Restart():
                await self.event(session, session_events.Queued(reason="restart"))
                await self._settled(session, envelope)
            case _:
                await self._settled(session, envelope)

    async def _create(self, session: SessionId, command: Create, envelope: Envelope) -> None:
        if session in self.reads.views:
            queued = session_events.Queued(reason="create", fresh=command.fresh)
            await self.event(session, queued, cause=envelope.id)
        else:
            await self.registered(session, envelope.id)
        if self.shows_codes:
            await self.starting(session)
            await self.pairing(session, f"2@{new_id()}")

    async def _settled(self, session: SessionId, envelope: Envelope) -> None:
        await self.notice(session, live.Settled(command=envelope.id, state="?"))


def sent(send: Send) -> Sent:
    """Say that WhatsApp took a message."""
    wa_id = f"3EB0{new_id()[:16].upper()}"
    return Sent(
        message=send.message,
        wa_id=wa_id,
        key=f"true_{send.to}_{wa_id}",
        chat=send.to,
        ack=1,
        at=utc_now(),
    )


def received(body: str = "hello", wa_id: str | None = None) -> message.Received:
    """Make an incoming message."""
    bare = wa_id or f"3A{new_id()[:16].upper()}"
    chat = "491701111111@c.us"
    return message.Received(
        wa_id=bare, key=f"false_{chat}_{bare}", chat=chat, sender=chat, body=body, at=utc_now()
    )


def _seal(
    session: SessionId,
    payload: SessionEvent | MessageEvent | live.LiveNotice,
    cause: str | None,
    version: int | None,
) -> Envelope:
    return codec.seal(
        payload,
        subject=session.dotted,
        source="wa/node/node-1",
        at=utc_now(),
        causation=cause,
        node="node-1",
        version=version,
    )
