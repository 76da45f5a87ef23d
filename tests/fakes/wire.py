"""A node's side of NATS in memory: a work queue that redelivers, notices that are kept."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.inbox import Asked, Delivered, Inbox, Pending
from events import asks, codec, subjects
from events.clock import utc_now
from events.envelope import Envelope, Payload
from events.live import LiveNotice
from events.session_events import SessionCommand
from events.subjects import SessionId


@dataclass
class Settled:
    """How a command ended."""

    envelope: Envelope
    word: str
    delay: float = 0.0


@dataclass
class FakeReceipt:
    """Says once how a command ended; `later` puts it back into its queue."""

    envelope: Envelope
    wire: FakeWire
    back: Callable[[], None]
    word: str | None = None

    def done(self) -> None:
        self._settle("done")

    def later(self, delay: float) -> None:
        self._settle("later", delay)

    def dead(self, reason: str) -> None:
        self._settle(f"dead:{reason}")

    def _settle(self, word: str, delay: float = 0.0) -> None:
        if self.word is None:
            self.word = word
            self.wire.settled.append(Settled(self.envelope, word, delay))
            if word == "later":
                self.back()


@dataclass
class Ear:
    """One session's open inbox."""

    control: Callable[[Delivered], None]
    sends: Callable[[Delivered], None]
    asked: Callable[[Asked], None]
    is_open: bool = False
    closed: bool = False
    on_gate: Callable[[], None] = lambda: None

    def gate(self, is_open: bool) -> None:
        """See actors.inbox.Inbox."""
        self.is_open = is_open
        self.on_gate()

    def close(self) -> None:
        """See actors.inbox.Inbox."""
        self.closed = True


@dataclass
class FakeWire:
    """See actors.inbox.Wire. Sends that were put back come again at `redeliver` or a gate."""

    ears: dict[SessionId, Ear] = field(default_factory=dict)
    notices: list[tuple[SessionId, LiveNotice]] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    outbox: dict[SessionId, deque[Envelope]] = field(default_factory=dict)
    forgotten: list[SessionId] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    creates: list[Ear] = field(default_factory=list)
    queued: deque[Callable[[Ear], None]] = field(default_factory=deque)
    controls: dict[SessionId, deque[Envelope]] = field(default_factory=dict)
    drains: dict[str, Callable[[Callable[[bytes], None]], None]] = field(default_factory=dict)

    async def open_inbox(
        self,
        session: SessionId,
        control: Callable[[Delivered], None],
        sends: Callable[[Delivered], None],
        asked: Callable[[Asked], None],
    ) -> Inbox:
        """See actors.inbox.Wire."""
        ear = Ear(control, sends, asked)
        ear.on_gate = lambda: self.redeliver(session)
        self.ears[session] = ear
        self._deliver_controls(session)
        return ear

    async def open_creates(self, create: Callable[[Delivered], None]) -> Inbox:
        """See actors.inbox.Wire."""
        ear = Ear(create, create, lambda _: None)
        ear.on_gate = self._deliver_creates
        self.creates.append(ear)
        return ear

    def _deliver_creates(self) -> None:
        ear = next((ear for ear in self.creates if ear.is_open and not ear.closed), None)
        while self.queued and ear is not None:
            self.queued.popleft()(ear)

    async def open_node(self, node: str, drain: Callable[[Callable[[bytes], None]], None]) -> None:
        """See actors.inbox.Wire."""
        self.drains[node] = drain

    async def forward(self, session: SessionId, command: SessionCommand, create: Envelope) -> None:
        """See actors.inbox.Wire."""
        envelope = _seal(command, session).model_copy(update={"id": create.id})
        self.controls.setdefault(session, deque()).append(envelope)
        self._deliver_controls(session)

    def _deliver_controls(self, session: SessionId) -> None:
        ear, queue = self.ears.get(session), self.controls.get(session)
        while queue and ear is not None and not ear.closed:
            self._command(session, queue.popleft())

    async def notice(self, session: SessionId, notice: LiveNotice) -> None:
        """See actors.inbox.Wire."""
        self.notices.append((session, notice))

    async def waiting(self) -> dict[SessionId, int]:
        """See actors.inbox.Wire."""
        return {session: len(queue) for session, queue in self.outbox.items() if queue}

    async def pending_sends(self, session: SessionId) -> list[Pending]:
        """See actors.inbox.Wire."""
        return [Pending(n, envelope) for n, envelope in enumerate(self.outbox.get(session, ()))]

    async def discard(self, position: int) -> None:
        """See actors.inbox.Wire."""

    async def bury(self, session: SessionId, reason: str) -> list[str]:
        """See actors.inbox.Wire."""
        return [envelope.id for envelope in self.outbox.pop(session, deque())]

    async def place(self) -> int:
        """See actors.inbox.Wire."""
        return len(self.places)

    async def forget(self, session: SessionId, place: int, position: int) -> None:
        """See actors.inbox.Wire."""
        self.forgotten.append(session)
        queue = self.outbox.get(session, deque())
        for envelope in [each for each in queue if self.places[each.id] <= place]:
            queue.remove(envelope)

    # --- what tests do ----------------------------------------------------------

    def create(self, session: SessionId, payload: Payload, says: str | None = None) -> Envelope:
        """Put a create into the shared queue; `says` is whom the envelope claims to be about."""
        envelope = _seal(payload, session)
        if says is not None:
            envelope = envelope.model_copy(update={"subject": says})

        def again() -> None:
            self.queued.append(deliver)
            self._deliver_creates()

        def deliver(ear: Ear) -> None:
            subject = subjects.create_command(session.user)
            ear.control(Delivered(subject, envelope, FakeReceipt(envelope, self, again)))

        again()
        return envelope

    def command(self, session: SessionId, payload: Payload) -> Envelope:
        """Deliver a command to a session's control inbox."""
        envelope = _seal(payload, session)
        self._command(session, envelope)
        return envelope

    def _command(self, session: SessionId, envelope: Envelope) -> None:
        ear = self.ears[session]

        def deliver() -> None:
            if not ear.closed:
                ear.control(
                    Delivered(
                        subjects.session_command(session, "any"),
                        envelope,
                        FakeReceipt(envelope, self, deliver),
                    )
                )

        deliver()

    def send(self, session: SessionId, payload: Payload) -> Envelope:
        """Put a send into a session's outbox; it is delivered when the gate is open."""
        envelope = _seal(payload, session)
        self.outbox.setdefault(session, deque()).append(envelope)
        self.places[envelope.id] = len(self.places) + 1
        self.redeliver(session)
        return envelope

    def redeliver(self, session: SessionId) -> None:
        """Deliver the oldest send if the gate is open; the next follows when it is settled."""
        ear, queue = self.ears.get(session), self.outbox.get(session)
        if not queue or ear is None or not ear.is_open or ear.closed:
            return
        envelope = queue[0]
        wire = self

        class Once(FakeReceipt):
            def _settle(self, word: str, delay: float = 0.0) -> None:
                if self.word is None and word != "later" and queue and queue[0] is envelope:
                    queue.popleft()
                first = self.word is None
                super()._settle(word, delay)
                if first and word != "later":
                    wire.redeliver(session)

        ear.sends(
            Delivered(subjects.send_command(session), envelope, Once(envelope, self, lambda: None))
        )

    async def ask(self, session: SessionId, query: asks.Query, **fields: Any) -> asks.Answer:
        """Ask a session's owner and wait for the answer."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()

        def reply(raw: bytes) -> None:
            loop.call_soon_threadsafe(answered.set_result, raw)

        self.ears[session].asked(Asked(query, asks.Question(**fields), reply))
        return asks.Answer.model_validate_json(await asyncio.wait_for(answered, 10))


def _seal(payload: Payload, session: SessionId) -> Envelope:
    return codec.seal(payload, subject=session.dotted, source="wa/test", at=utc_now())
